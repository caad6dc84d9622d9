//! Graph as nobody should meet it: pages in a circle, long waits, bodies that never end, times that no clock has.

use super::*;
use crate::connector::entra::SignIn;
use crate::context::Clock;
use crate::model::Timestamp;
use secrecy::SecretString;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// What is answered to a request: status, more lines of the head, and the body; without a body it never comes.
type Reply = (u16, &'static str, Option<String>);
type Script = dyn Fn(&str) -> Reply + Send + Sync;

/// A clock that has run for long, waits for nobody, and remembers for how long it should have.
#[derive(Default)]
struct Noting(Mutex<Vec<Duration>>);

impl Clock for Noting {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_hours(1)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.lock().unwrap().push(duration);
        Box::pin(std::future::ready(()))
    }
}

struct World {
    graph: Graph,
    clock: Arc<Noting>,
    cx: Context,
    root: String,
}

/// A Graph that answers by a script, which is given the address of the request without its host. Tokens are good for longer
/// than there is time.
async fn world(script: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    let script: Arc<Script> = {
        let root = root.clone();
        Arc::new(move |path| match path {
            "/tenant/oauth2/v2.0/token" => (200, "", Some(json!({"access_token": "token", "expires_in": u64::MAX}).to_string())),
            path => script(&root, path),
        })
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&script)));
        }
    });
    let sign_in = SignIn::Secret { client_id: "client".to_owned(), secret: SecretString::from("secret") };
    let settings = EntraSettings { login_url: root.clone(), graph_url: root.clone(), ..EntraSettings::new("tenant", sign_in) };
    let clock = Arc::new(Noting::default());
    let cx = Context { clock: Arc::clone(&clock) as Arc<dyn Clock>, cancel: CancellationToken::new(), seed: 0 };
    World { graph: Graph::new(&settings).unwrap(), clock, cx, root }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>) {
    let mut buffer = Vec::new();
    loop {
        let head = buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4);
        let whole = head.map(|head| {
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |length| length.trim().parse().unwrap());
            head + length
        });
        let Some(whole) = whole.filter(|whole| buffer.len() >= *whole) else {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let request: Vec<u8> = buffer.drain(..whole).collect();
        let path = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap().to_owned();
        let (status, head, body) = script(&path);
        let length = body.as_ref().map_or(100, String::len);
        let answer = format!("HTTP/1.1 {status} Scripted\r\n{head}Content-Length: {length}\r\n\r\n{}", body.unwrap_or_default());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn ok(body: &Value) -> Reply {
    (200, "", Some(body.to_string()))
}

#[tokio::test]
async fn pages_in_a_circle_are_no_list() {
    let world = world(|root, path| {
        let next = if path.ends_with("page=2") { "users" } else { "users?page=2" };
        ok(&json!({"value": [{"id": path}], "@odata.nextLink": format!("{root}/v1.0/{next}")}))
    })
    .await;
    let mut seen = 0;
    let error = world.graph.pages(&world.cx, "/users", |_| seen += 1).await.unwrap_err();
    assert!(error.message.contains("no end") && seen == 2, "{error}, {seen} objects");
}

#[tokio::test]
async fn a_token_goes_to_no_neighbour() {
    let world = world(|root, _| ok(&json!({"value": [], "@odata.nextLink": format!("{root}/v1.0.elsewhere.example/x")}))).await;
    let error = world.graph.pages(&world.cx, "/users", |_| {}).await.unwrap_err();
    assert!(error.message.contains("elsewhere"), "{error}");
    assert_eq!(world.graph.requests(), 1);
}

#[tokio::test]
async fn graph_is_waited_for_as_long_as_it_says() {
    let asked = AtomicU64::new(0);
    let world = world(move |_, _| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => (429, "Retry-After: 300\r\n", Some(String::new())),
        1 => (503, "Retry-After: 1e30\r\n", Some(String::new())),
        _ => ok(&json!({"value": []})),
    })
    .await;
    world.graph.pages(&world.cx, "/users", |_| {}).await.unwrap();
    let waited = world.clock.0.lock().unwrap().clone();
    assert!(waited.len() == 2 && waited[0] == Duration::from_mins(5) && waited[1] <= LONGEST_TOLD, "{waited:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_can_be_stopped() {
    let begun = CancellationToken::new();
    let (told, asked) = (begun.clone(), begun);
    let world = world(move |_, _| {
        told.cancel();
        (200, "", None)
    })
    .await;
    let stop = world.cx.cancel.clone();
    let stopper = tokio::spawn(async move {
        asked.cancelled().await;
        stop.cancel();
    });
    let ended = tokio::time::timeout(Duration::from_mins(1), world.graph.count(&world.cx, "users")).await;
    assert_eq!(ended.expect("it ends when it is told to").unwrap_err().kind, ConnectorErrorKind::Cancelled);
    stopper.await.unwrap();
}

#[tokio::test]
async fn a_batch_gives_whole_lists() {
    let world = world(|root, path| match path {
        "/v1.0/$batch" => {
            let link = format!("{root}/v1.0/directoryRoles/r/members?page=2");
            let first = json!({"value": [{"id": "a"}], "@odata.nextLink": link});
            ok(&json!({"responses": [{"id": "0", "status": 200, "body": first}, {"id": "1", "status": 200, "body": {"value": []}}]}))
        }
        "/v1.0/directoryRoles/r/members?page=2" => {
            ok(&json!({"value": [{"id": "b"}], "@odata.nextLink": format!("{root}/v1.0/directoryRoles/r/members?page=3")}))
        }
        _ => ok(&json!({"value": [{"id": "c"}]})),
    })
    .await;
    let answers = world.graph.batch(&world.cx, &["/directoryRoles/r/members".to_owned(), "/x".to_owned()]).await.unwrap();
    assert_eq!(answers[0]["value"], json!([{"id": "a"}, {"id": "b"}, {"id": "c"}]), "of {}", world.root);
    assert_eq!(answers[1]["value"], json!([]));
}
