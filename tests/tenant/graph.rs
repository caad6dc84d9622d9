//! Graph: reads held against the published schema, paging, filters, changes by administrators, and error branches.

use crate::schema::assert_graph;
use crate::support::{Drive, INITIAL, Served, VERIFIED, answer, delete, references, served, set, settings, text, texts, user};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use syncline::tenant::directory::{Edit, Incoming, ObjectKind, PropertyValue};

const GRAPH: &str = "https://graph.microsoft.com";

/// Some of everything.
async fn populated() -> (Served, String) {
    let served = served(settings()).await;
    let t = &served.tenant;
    for number in 0..7 {
        t.accept(user(
            &format!("U{number}"),
            &[
                ("userPrincipalName", text(&format!("u{number}@{VERIFIED}"))),
                ("displayName", text(&format!("User {number}"))),
                ("telephoneNumber", text("+1 555 0100")),
                ("physicalDeliveryOfficeName", text("Office")),
                ("extensionAttribute7", text("seven")),
                ("onPremisesSamAccountName", text(&format!("u{number}"))),
                ("onPremiseSecurityIdentifier", Incoming::Value(PropertyValue::Binary(vec![1, 1, 0, 0, 0, 0, 0, 5, number, 0, 0, 0]))),
                ("proxyAddresses", texts(&[&format!("SMTP:u{number}@{VERIFIED}"), &format!("smtp:alias{}@{VERIFIED}", number % 6)])),
                ("accountEnabled", Incoming::Value(PropertyValue::Boolean(number != 3))),
                ("manager", text("U0")),
            ],
        ));
    }
    t.accept(set(
        ObjectKind::Group,
        "G",
        &[
            ("displayName", text("Group")),
            ("SecurityEnabled", Incoming::Value(PropertyValue::Boolean(true))),
            ("member", references(&["U1", "U2", "C", "nobody"], &[])),
        ],
    ));
    t.accept(set(
        ObjectKind::Contact,
        "C",
        &[("displayName", text("Contact")), ("mail", text("c@partner.example")), ("telephoneNumber", text("1")), ("city", text("Bern"))],
    ));
    t.accept(set(
        ObjectKind::Device,
        "D",
        &[
            ("displayName", text("PC")),
            ("deviceOSType", text("Windows")),
            ("deviceId", Incoming::Value(PropertyValue::Binary(vec![7; 16]))),
        ],
    ));
    t.accept(user("GONE", &[("userPrincipalName", text(&format!("gone@{VERIFIED}")))]));
    t.accept(delete(ObjectKind::User, "GONE"));
    let token = served.token(GRAPH).await;
    (served, token)
}

async fn call(served: &Served, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = served.client.request(method, served.url(path)).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    answer(request.send().await.unwrap()).await
}

async fn get(served: &Served, token: &str, path: &str) -> (u16, Value) {
    call(served, token, Method::GET, path, None).await
}

fn id(served: &Served, anchor: &str) -> String {
    served.tenant.object(anchor).uuid().to_string()
}

#[tokio::test]
async fn published_material_every_read_has_its_shape() {
    let (served, token) = populated().await;
    let tenant_id = served.tenant_id();
    let (u0, g, c, d) = (id(&served, "U0"), id(&served, "G"), id(&served, "C"), id(&served, "D"));
    let all_of_a_user = "accountEnabled,assignedLicenses,businessPhones,city,companyName,country,createdDateTime,creationType,deletedDateTime,\
        department,displayName,employeeId,employeeType,faxNumber,givenName,identities,jobTitle,lastPasswordChangeDateTime,mail,mailNickname,\
        mobilePhone,officeLocation,onPremisesDistinguishedName,onPremisesDomainName,onPremisesExtensionAttributes,onPremisesImmutableId,\
        onPremisesLastSyncDateTime,onPremisesProvisioningErrors,onPremisesSamAccountName,onPremisesSecurityIdentifier,onPremisesSyncEnabled,\
        onPremisesUserPrincipalName,otherMails,passwordPolicies,passwordProfile,postalCode,preferredDataLocation,preferredLanguage,\
        proxyAddresses,state,streetAddress,surname,usageLocation,userPrincipalName,userType";
    let paths = vec![
        "/v1.0/users".to_owned(),
        "/v1.0/users?$select=onPremisesImmutableId,userPrincipalName,onPremisesSyncEnabled&$top=100".to_owned(),
        "/v1.0/users?$top=3&$count=true".to_owned(),
        format!("/v1.0/users?$select={all_of_a_user}"),
        format!("/v1.0/users/{u0}"),
        format!("/v1.0/users/u0@{VERIFIED}?$select={all_of_a_user}"),
        format!("/v1.0/users/{}/manager", id(&served, "U1")),
        format!("/v1.0/users/{u0}/directReports"),
        format!("/v1.0/users/{}/memberOf", id(&served, "U1")),
        "/v1.0/groups".to_owned(),
        format!("/v1.0/groups/{g}"),
        format!("/v1.0/groups/{g}/members"),
        format!("/v1.0/groups/{g}/members?$select=id,displayName"),
        format!("/v1.0/groups/{g}/members/$ref"),
        "/v1.0/contacts".to_owned(),
        format!("/v1.0/contacts/{c}"),
        "/v1.0/devices".to_owned(),
        format!("/v1.0/devices/{d}"),
        "/v1.0/organization".to_owned(),
        format!("/v1.0/organization/{tenant_id}"),
        "/v1.0/domains".to_owned(),
        format!("/v1.0/domains/{VERIFIED}"),
        "/v1.0/directory/deletedItems/graph.user".to_owned(),
        "/v1.0/directory/deletedItems/graph.group".to_owned(),
        format!("/v1.0/directory/deletedItems/{}", id(&served, "GONE")),
        "/v1.0/directory/onPremisesSynchronization".to_owned(),
        format!("/v1.0/directory/onPremisesSynchronization/{tenant_id}"),
    ];
    for path in &paths {
        let (status, body) = get(&served, &token, path).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert_graph("GET", path, status, &body);
    }
    for path in [
        "/v1.0/users/nobody@nowhere.example",
        "/v1.0/users?$top=0",
        "/v1.0/groups?$filter=nothing%20eq%20'x'",
        "/v1.0/groups/x",
        "/v1.0/users?$orderby=mail",
    ] {
        let (status, body) = get(&served, &token, path).await;
        assert!((400..500).contains(&status), "{path}: {status}");
        assert_graph("GET", path, status, &body);
    }
}

/// The schema itself must be able to fail, or the test above says nothing.
#[tokio::test]
#[should_panic(expected = "displaName")]
async fn published_material_a_misspelt_property_fails() {
    assert_graph("GET", "/v1.0/users/x", 200, &json!({"id": "x", "displaName": "typo"}));
}

#[tokio::test]
async fn published_material_changes_have_its_shape() {
    let (served, token) = populated().await;
    let new = json!({
        "accountEnabled": true, "displayName": "Cloud", "mailNickname": "cloud", "userPrincipalName": format!("cloud@{VERIFIED}"),
        "passwordProfile": {"password": "Correct horse 1", "forceChangePasswordNextSignIn": false},
    });
    let (status, body) = call(&served, &token, Method::POST, "/v1.0/users", Some(new.clone())).await;
    assert_eq!(status, 201, "{body}");
    assert_graph("POST", "/v1.0/users", status, &body);
    let path = format!("/v1.0/users/{}", body["id"].as_str().unwrap());
    let (status, body) = call(&served, &token, Method::POST, "/v1.0/users", Some(new)).await;
    assert_eq!(status, 400);
    assert_graph("POST", "/v1.0/users", status, &body);
    assert_eq!(
        body["error"]["details"][0],
        json!({"code": "ObjectConflict", "message": body["error"]["message"], "target": "userPrincipalName"})
    );
    let (status, body) =
        call(&served, &token, Method::PATCH, &path, Some(json!({"jobTitle": "Boss", "onPremisesImmutableId": "IMM"}))).await;
    assert_eq!(status, 204, "{body}");
    assert_graph("PATCH", &path, status, &body);
    assert_eq!(served.tenant.object("IMM").wanted_text("title"), Some("Boss"));
    let (status, _) = call(&served, &token, Method::PATCH, &path, Some(json!({"onPremisesImmutableId": null}))).await;
    assert_eq!(status, 204);
    let (status, body) = call(&served, &token, Method::DELETE, &path, None).await;
    assert_eq!(status, 204);
    assert_graph("DELETE", &path, status, &body);
    let bin = path.replace("/users/", "/directory/deletedItems/");
    let restore = format!("{bin}/restore");
    let (status, body) =
        call(&served, &token, Method::POST, &restore, Some(json!({"newUserPrincipalName": format!("renamed@{VERIFIED}")}))).await;
    assert_eq!(status, 200, "{body}");
    assert_graph("POST", &restore, status, &body);
    assert_eq!(body["userPrincipalName"], format!("renamed@{VERIFIED}"));
    let (status, body) = call(&served, &token, Method::POST, &restore, None).await;
    assert_eq!(status, 404, "not in the bin any more");
    assert_graph("POST", &restore, status, &body);
}

#[tokio::test]
async fn pages_join_to_the_whole() {
    let (served, token) = populated().await;
    let mut seen = BTreeSet::new();
    let mut url = served.url("/v1.0/users?$select=userPrincipalName&$top=3");
    let mut pages = 0;
    loop {
        let (status, body) = answer(served.client.get(&url).bearer_auth(&token).send().await.unwrap()).await;
        assert_eq!(status, 200);
        let value = body["value"].as_array().unwrap();
        assert!(value.len() <= 3);
        for user in value {
            assert!(seen.insert(user["userPrincipalName"].as_str().unwrap().to_owned()));
            assert!(user.get("onPremisesImmutableId").is_none() && user.get("id").is_some());
        }
        pages += 1;
        match body["@odata.nextLink"].as_str() {
            Some(next) => url = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((pages, seen.len()), (3, 8));
    // Members: two users and a contact; the one that never arrived is no member.
    let group = id(&served, "G");
    let (_, first) = get(&served, &token, &format!("/v1.0/groups/{group}/members?$top=2")).await;
    assert_eq!(first["value"].as_array().unwrap().len(), 2);
    let next = first["@odata.nextLink"].as_str().unwrap();
    let (_, second) = answer(served.client.get(next).bearer_auth(&token).send().await.unwrap()).await;
    let types: Vec<&str> = first["value"]
        .as_array()
        .unwrap()
        .iter()
        .chain(second["value"].as_array().unwrap())
        .map(|member| member["@odata.type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["#microsoft.graph.orgContact", "#microsoft.graph.user", "#microsoft.graph.user"]);
    assert!(second.get("@odata.nextLink").is_none());
    let count = served.client.get(served.url(&format!("/v1.0/groups/{group}/members/$count"))).bearer_auth(&token).send().await.unwrap();
    assert_eq!(count.text().await.unwrap(), "3");
    let (_, users) = get(&served, &token, &format!("/v1.0/groups/{group}/members/microsoft.graph.user")).await;
    assert_eq!(users["value"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn filters_find_by_index_and_by_looking() {
    let (served, token) = populated().await;
    for (path, filter, expected) in [
        ("users", format!("userPrincipalName eq 'U2@{VERIFIED}'"), 1),
        ("users", format!("userPrincipalName eq 'u2@{VERIFIED}' and accountEnabled eq false"), 0),
        ("users", "onPremisesImmutableId eq 'U4'".to_owned(), 1),
        ("users", "onPremisesImmutableId eq 'u4'".to_owned(), 0),
        ("users", "onPremisesSyncEnabled eq true".to_owned(), 7),
        ("users", "accountEnabled eq false".to_owned(), 1),
        ("users", "startswith(displayName,'user')".to_owned(), 7),
        ("users", format!("proxyAddresses/any(p:p eq 'smtp:alias1@{VERIFIED}')"), 1),
        ("users", "onPremisesProvisioningErrors/any(e:e/category eq 'PropertyConflict')".to_owned(), 1),
        ("groups", "displayName eq 'Group'".to_owned(), 1),
        ("contacts", "mail eq 'c@partner.example'".to_owned(), 1),
        ("contacts", "mail eq 'nobody@partner.example'".to_owned(), 0),
    ] {
        let response = served
            .client
            .get(served.url(&format!("/v1.0/{path}")))
            .query(&[("$filter", &filter), ("$count", &"true".to_owned())])
            .bearer_auth(&token);
        let (status, body) = answer(response.send().await.unwrap()).await;
        assert_eq!(status, 200, "{filter}: {body}");
        assert_eq!(body["value"].as_array().unwrap().len(), expected, "{filter}");
        assert_eq!(body["@odata.count"], expected, "{filter}");
    }
}

/// An index gives its objects in pages like a look at everybody does.
#[tokio::test]
async fn what_an_index_finds_comes_in_pages() {
    let (served, token) = populated().await;
    let names = format!("userPrincipalName in ('u5@{VERIFIED}','u1@{VERIFIED}','u3@{VERIFIED}')");
    let mut next = format!("/v1.0/users?$top=1&$select=userPrincipalName&$filter={names}");
    let mut found = Vec::new();
    loop {
        let (status, body) = get(&served, &token, &next).await;
        assert_eq!(status, 200, "{body}");
        let page = body["value"].as_array().unwrap();
        assert_eq!(page.len(), 1, "{body}");
        found.push(page[0]["userPrincipalName"].as_str().unwrap().to_lowercase());
        let Some(link) = body["@odata.nextLink"].as_str() else { break };
        next = link[link.find("/v1.0").unwrap()..].to_owned();
    }
    assert_eq!(found, [1, 3, 5].map(|number| format!("u{number}@{VERIFIED}")));
}

#[tokio::test]
async fn values_come_from_where_they_should() {
    let (served, token) = populated().await;
    let (_, user) = get(&served, &token, &format!("/v1.0/users/u6@{VERIFIED}?$select=officeLocation,businessPhones,onPremisesExtensionAttributes,onPremisesSecurityIdentifier,onPremisesProvisioningErrors,proxyAddresses,mailNickname,onPremisesSyncEnabled")).await;
    assert_eq!(user["officeLocation"], "Office");
    assert_eq!(user["businessPhones"], json!(["+1 555 0100"]));
    assert_eq!(user["onPremisesExtensionAttributes"]["extensionAttribute7"], "seven");
    assert_eq!(user["onPremisesSecurityIdentifier"], "S-1-5-6");
    // Its alias belongs to the first user.
    assert_eq!(user["onPremisesProvisioningErrors"][0]["propertyCausingError"], "ProxyAddresses");
    assert_eq!(user["onPremisesProvisioningErrors"][0]["value"], format!("smtp:alias0@{VERIFIED}"));
    assert_eq!(user["proxyAddresses"], json!([format!("SMTP:u6@{VERIFIED}")]));
    assert_eq!(user["onPremisesSyncEnabled"], true);
    let (_, device) = get(&served, &token, &format!("/v1.0/devices/{}", id(&served, "D"))).await;
    assert_eq!(device["deviceId"], "07070707-0707-0707-0707-070707070707");
    // Without a selection a user has the default set only.
    let (_, user) = get(&served, &token, &format!("/v1.0/users/u6@{VERIFIED}")).await;
    assert!(user.get("onPremisesImmutableId").is_none() && user["displayName"] == "User 6");
}

#[tokio::test]
async fn error_branches() {
    let (served, token) = populated().await;
    let u0 = format!("/v1.0/users/{}", id(&served, "U0"));
    let organization = format!("/v1.0/organization/{}", served.tenant_id());
    let synchronization = format!("/v1.0/directory/onPremisesSynchronization/{}", served.tenant_id());
    let cases: [(Method, &str, Option<Value>, u16, &str); 24] = [
        (Method::GET, "/v1.0/users?$top=1000", None, 400, "Request_BadRequest"),
        (Method::GET, "/v1.0/users?$top=x", None, 400, "Request_BadRequest"),
        (Method::GET, "/v1.0/users?$select=colour", None, 400, "Request_BadRequest"),
        (Method::GET, "/v1.0/users?$filter=displayName", None, 400, "Request_BadRequest"),
        (Method::GET, "/v1.0/users?$expand=manager", None, 400, "Request_UnsupportedQuery"),
        (Method::GET, "/v1.0/users?$skiptoken=x", None, 400, "Request_BadRequest"),
        (Method::GET, "/v1.0/users/00000000-0000-4000-8000-000000000000", None, 404, "Request_ResourceNotFound"),
        (Method::GET, "/v1.0/groups/not-an-id", None, 400, "Request_BadRequest"),
        (Method::GET, "/v1.0/nonsense", None, 400, "Request_BadRequest"),
        (Method::PUT, "/v1.0/users", None, 400, "Request_BadRequest"),
        (Method::POST, "/v1.0/users", Some(json!({"displayName": "x"})), 400, "Request_BadRequest"),
        (
            Method::POST,
            "/v1.0/users",
            Some(
                json!({"accountEnabled": true, "displayName": "x", "mailNickname": "x", "userPrincipalName": "x@foreign.example", "passwordProfile": {"password": "12345678"}}),
            ),
            400,
            "Request_BadRequest",
        ),
        (Method::PATCH, &u0, Some(json!({"displayName": "changed in the cloud"})), 400, "Request_BadRequest"),
        (Method::PATCH, &u0, Some(json!({"passwordProfile": {"password": "short"}})), 400, "Request_BadRequest"),
        (Method::PATCH, &u0, Some(json!({"usageLocation": {"a": 1}})), 400, "Request_BadRequest"),
        (Method::PATCH, &u0, None, 400, "Request_BadRequest"),
        (Method::PATCH, &organization, Some(json!({"displayName": "x"})), 400, "Request_BadRequest"),
        (Method::PATCH, &organization, Some(json!({"onPremisesSyncEnabled": "yes"})), 400, "Request_BadRequest"),
        (Method::PATCH, "/v1.0/organization/someone", Some(json!({})), 404, "Request_ResourceNotFound"),
        (Method::GET, "/v1.0/domains/foreign.example", None, 404, "Request_ResourceNotFound"),
        (Method::PATCH, &synchronization, Some(json!({"features": {"softMatchOnUpnEnabled": false}})), 400, "Request_BadRequest"),
        (Method::PATCH, &synchronization, Some(json!({"features": {"flying": true}})), 400, "Request_BadRequest"),
        (
            Method::PATCH,
            &synchronization,
            Some(json!({"configuration": {"accidentalDeletionPrevention": {"alertThreshold": -1}}})),
            400,
            "Request_BadRequest",
        ),
        (Method::GET, "/v1.0/directory/deletedItems/00000000-0000-4000-8000-000000000000", None, 404, "Request_ResourceNotFound"),
    ];
    for (method, path, body, status, code) in cases {
        let (got, answer) = call(&served, &token, method.clone(), path, body).await;
        assert_eq!((got, answer["error"]["code"].as_str()), (status, Some(code)), "{method} {path}: {answer}");
        assert!(answer["error"]["innerError"]["request-id"].is_string());
    }
    // Without a token, with a foreign one, with one for another resource, and without any right.
    let (status, body) = answer(served.client.get(served.url("/v1.0/users")).send().await.unwrap()).await;
    assert_eq!((status, body["error"]["code"].as_str()), (401, Some("InvalidAuthenticationToken")));
    let (status, _) = get(&served, "test-token.not-a-real-jwt.0000", "/v1.0/users").await;
    assert_eq!(status, 401);
    let (status, _) = get(&served, &served.token("6bf85cfa-ac8a-4be5-b5de-425a0d0dc016").await, "/v1.0/users").await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn headers_are_those_of_graph() {
    let (served, token) = populated().await;
    let response =
        served.client.get(served.url("/v1.0/users")).bearer_auth(&token).header("client-request-id", "my-request").send().await.unwrap();
    let header = |name: &str| response.headers().get(name).unwrap_or_else(|| panic!("{name}")).to_str().unwrap().to_owned();
    assert_eq!(header("client-request-id"), "my-request");
    assert_eq!(header("odata-version"), "4.0");
    assert_eq!(header("x-ms-resource-unit"), "2");
    assert_eq!(
        header("content-type"),
        "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8"
    );
    assert!(!header("request-id").is_empty() && !header("x-ms-ags-diagnostic").is_empty() && !header("date").is_empty());
}

#[tokio::test]
async fn synchronization_is_steered_through_graph() {
    let (served, token) = populated().await;
    let organization = format!("/v1.0/organization/{}", served.tenant_id());
    let (status, _) = call(&served, &token, Method::PATCH, &organization, Some(json!({"OnPremisesSyncEnabled": false}))).await;
    assert_eq!(status, 204);
    let (_, shown) = get(&served, &token, &organization).await;
    assert_eq!(shown["onPremisesSyncEnabled"], false);
    let (status, _) = call(&served, &token, Method::PATCH, &organization, Some(json!({"OnPremisesSyncEnabled": true}))).await;
    assert_eq!(status, 204);
    assert!(served.tenant.state().accepts_synchronization());
    let synchronization = format!("/v1.0/directory/onPremisesSynchronization/{}", served.tenant_id());
    let change = json!({"features": {"passwordSyncEnabled": true, "fopeConflictResolutionEnabled": true}, "configuration": {"accidentalDeletionPrevention": {"alertThreshold": 50}}});
    let (status, _) = call(&served, &token, Method::PATCH, &synchronization, Some(change)).await;
    assert_eq!(status, 204);
    let (_, shown) = get(&served, &token, &synchronization).await;
    assert_eq!(
        (
            &shown["features"]["passwordSyncEnabled"],
            &shown["features"]["fopeConflictResolutionEnabled"],
            &shown["features"]["blockSoftMatchEnabled"]
        ),
        (&json!(true), &json!(true), &json!(false))
    );
    assert_eq!(
        shown["configuration"]["accidentalDeletionPrevention"],
        json!({"synchronizationPreventionType": "enabledForCount", "alertThreshold": 50})
    );
    assert_eq!(served.tenant.state().features.0, 41017);
    let (_, domains) = get(&served, &token, "/v1.0/domains").await;
    let names: Vec<&str> = domains["value"].as_array().unwrap().iter().map(|domain| domain["id"].as_str().unwrap()).collect();
    assert_eq!(names, [INITIAL, VERIFIED]);
}

#[tokio::test]
async fn faults_on_demand_concern_graph_too() {
    let (served, token) = populated().await;
    served.fault("throttle=1x,service=graph,retry-after=2.128").await;
    let response = served.client.get(served.url("/v1.0/users")).bearer_auth(&token).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "2.128"));
    assert_eq!(answer(response).await.1["error"]["code"], "TooManyRequests");
    served.fault("drop-answer=1x,service=graph").await;
    assert!(served.client.get(served.url("/v1.0/users")).bearer_auth(&token).send().await.is_err());
    assert_eq!(get(&served, &token, "/v1.0/users").await.0, 200);
}

#[tokio::test]
async fn published_material_a_batch_is_answered_item_by_item() {
    let (served, token) = populated().await;
    let item = |id: &str, url: &str| json!({"id": id, "method": "GET", "url": url});
    let name = format!("/users/u1@{VERIFIED}");
    let body = json!({"requests": [
        item("one", &name),
        item("gone", &format!("/users/nobody@{VERIFIED}")),
        json!({"id": "behind", "method": "GET", "url": "/organization", "dependsOn": ["gone"]}),
        item("list", &format!("/users?$filter=userPrincipalName%20in%20('u2@{VERIFIED}','U3@{VERIFIED}','x@x')&$select=userPrincipalName")),
        item("anchors", "/users?$filter=onPremisesImmutableId%20in%20('U4','u4')&$select=onPremisesImmutableId"),
    ]});
    let (status, answer) = call(&served, &token, Method::POST, "/v1.0/$batch", Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    assert_graph("POST", "/v1.0/$batch", 200, &answer);
    let of = |id: &str| {
        let responses = answer["responses"].as_array().unwrap();
        responses.iter().find(|response| response["id"] == id).unwrap_or_else(|| panic!("{id}: {answer:#}")).clone()
    };
    assert_eq!(
        (of("one")["status"].as_u64(), of("gone")["status"].as_u64(), of("behind")["status"].as_u64()),
        (Some(200), Some(404), Some(424))
    );
    assert_graph("GET", &format!("/v1.0{name}"), 200, &of("one")["body"]);
    assert_eq!(of("list")["body"]["value"].as_array().map(Vec::len), Some(2));
    assert_eq!(of("anchors")["body"]["value"][0]["onPremisesImmutableId"], "U4");
    assert_eq!(of("anchors")["body"]["value"].as_array().map(Vec::len), Some(1), "immutable ids have their case");
    for wrong in [
        json!({"requests": []}),
        json!({"requests": (0..21).map(|number| item(&number.to_string(), "/organization")).collect::<Vec<_>>()}),
        json!({"requests": [item("a", "/organization"), item("a", "/organization")]}),
    ] {
        assert_eq!(call(&served, &token, Method::POST, "/v1.0/$batch", Some(wrong)).await.0, 400);
    }
}

#[tokio::test]
async fn roles_are_listed_with_their_holders() {
    let (served, token) = populated().await;
    let edit = Edit {
        roles: Some(vec!["User Administrator".to_owned()]),
        values: vec![("userPrincipalName".to_owned(), text(&format!("boss@{VERIFIED}")))],
        ..Edit::default()
    };
    let boss = served.tenant.directory().create_cloud_object(ObjectKind::User, &edit, &served.tenant.policy()).unwrap();
    let (_, roles) = get(&served, &token, "/v1.0/directoryRoles?$select=id,displayName").await;
    let role = roles["value"].as_array().unwrap().iter().find(|role| role["displayName"] == "User Administrator").unwrap().clone();
    let path = format!("/v1.0/directoryRoles/{}/members?$select=id", role["id"].as_str().unwrap());
    let (_, members) = get(&served, &token, &path).await;
    assert_eq!(members["value"].as_array().map(Vec::len), Some(1), "{members}");
    assert_eq!(members["value"][0]["id"], boss.uuid().hyphenated().to_string());
    assert_eq!(get(&served, &token, "/v1.0/directoryRoles/7/members").await.0, 404);
}
