//! Traces: spans of cycles, steps and batches for a collector of OpenTelemetry (OTLP over HTTP, in JSON). Names of
//! connectors and profiles are in them, no names of people and no values.

use crate::connector::tls;
use crate::engine::TRACED;
use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// A collector that takes longer loses the spans.
const LONGEST_CALL: Duration = Duration::from_secs(10);
/// So long the last spans may take when the process ends.
const LAST_CALL: Duration = Duration::from_secs(3);

/// Spans on their way to a collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins to send spans to a collector: `http://127.0.0.1:4318`. They are sent by a thread of their own; a collector
    /// that does not answer holds nothing up.
    ///
    /// # Errors
    /// A sentence, when the client cannot be made.
    pub fn begin(collector: &str) -> Result<Self, String> {
        let client = Collector::new(collector)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpJson)
            .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
            .with_timeout(LONGEST_CALL)
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder_empty()
            .with_service_name("syncline")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { provider: SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build() })
    }

    /// Where spans are taken.
    pub fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(&self) -> impl Layer<S> + use<S> {
        let tracer = self.provider.tracer("syncline");
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TRACED))
    }

    /// Sends what is left.
    pub fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_CALL) {
            tracing::debug!("the last spans were not taken: {error}");
        }
    }
}

/// Calls the collector from the thread that sends, with a runtime of its own: that thread belongs to none.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn new(address: &str) -> Result<Self, String> {
        let trusted = if address.starts_with("https://") { tls::configuration(None) } else { tls::trusting_nobody() };
        let client = reqwest::Client::builder()
            .timeout(LONGEST_CALL)
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured((*trusted.map_err(|error| error.message)?).clone())
            .build()
            .map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        Ok(Self { client, runtime })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        self.runtime.block_on(async {
            let answer = self.client.execute(request).await?;
            let status = answer.status();
            // What a collector says beyond its status concerns nobody here.
            Ok(Response::builder().status(status).body(Bytes::new())?)
        })
    }
}
