//! Questions over gRPC: events, incidents, and both as they come; and what the hub says that it speaks.

use aviary_proto::hub::v1::hub_client::HubClient;
use aviary_proto::hub::v1::{IncidentsRequest, News, QueryRequest, WatchRequest, news};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::grpc::Wire;
use crate::{INGEST, READ, Running, line, run};

const DEADLINE: Duration = Duration::from_secs(60);

impl Running {
    async fn asks(&self) -> HubClient<Wire> {
        HubClient::with_origin(self.wire().await, self.base.parse().expect("an address"))
    }

    async fn send(&self, sources: &[&str]) {
        let body: String = sources.iter().map(|source| line(source) + "\n").collect();
        self.post(INGEST, "/api/v1/events", "identity", body.into_bytes()).await;
    }
}

async fn heard(stream: &mut Streaming<News>) -> Result<News, Status> {
    let news = timeout(DEADLINE, stream.message()).await.expect("in time");
    news.map(|news| news.expect("not the end"))
}

#[tokio::test]
async fn events_and_incidents_are_found_in_pages() {
    let hub = run().await;
    hub.send(&["10.0.0.1", "10.0.0.2", "10.1.0.1"]).await;
    let mut asks = hub.asks().await;
    let mut query = QueryRequest { source: "10.0.0.0/16".to_owned(), limit: 1, ..QueryRequest::default() };
    query.fields.insert("USERNAME".to_owned(), "root".to_owned());
    let first = asks.query(hub.call(READ, query.clone())).await.expect("an answer").into_inner();
    assert_eq!((first.events.len(), first.events[0].sensor.as_str()), (1, "north"));
    assert_eq!(first.events[0].stage, "login_attempt");
    (query.after, query.limit) = (first.next.clone(), 2);
    let second = asks.query(hub.call(READ, query)).await.expect("an answer").into_inner();
    assert_eq!((second.events.len(), second.next.as_str()), (1, ""));
    let mut lines = [first.events[0].line.as_str(), second.events[0].line.as_str()];
    lines.sort_unstable();
    assert_eq!(lines, [line("10.0.0.1"), line("10.0.0.2")]);
    let all = asks.incidents(hub.call(READ, IncidentsRequest::default())).await.expect("an answer").into_inner();
    assert_eq!(all.incidents.len(), 3);
    let incident = &all.incidents[0];
    assert_eq!((incident.state.as_str(), incident.events), ("open", 1));
    assert!(incident.facts.iter().any(|fact| fact.fact == "user" && fact.value == "root"), "{incident:?}");
    assert!(!incident.reasons.is_empty());
    let none = IncidentsRequest { state: "closed".to_owned(), ..IncidentsRequest::default() };
    let none = asks.incidents(hub.call(READ, none)).await.expect("an answer").into_inner();
    assert!(none.incidents.is_empty());
}

#[tokio::test]
async fn a_question_that_makes_no_sense_or_may_not_be_asked_says_so() {
    let hub = run().await;
    let mut asks = hub.asks().await;
    let wrong = |change: fn(&mut QueryRequest)| {
        let mut query = QueryRequest::default();
        change(&mut query);
        query
    };
    for (query, word) in [
        (wrong(|query| query.source = "10.0.0".to_owned()), "`source`"),
        (wrong(|query| query.stage = "far".to_owned()), "`stage`"),
        (wrong(|query| query.port = Some(70_000)), "`port`"),
        (wrong(|query| query.after = "1".to_owned()), "`after`"),
        (wrong(|query| query.since = Some(aviary_proto::Timestamp { seconds: i64::MAX, nanos: 0 })), "`since`"),
    ] {
        let why = asks.query(hub.call(READ, query)).await.expect_err("refused");
        assert_eq!(why.code(), Code::InvalidArgument);
        assert!(why.message().contains(word), "{why}");
    }
    let why = asks.query(hub.call(INGEST, QueryRequest::default())).await.expect_err("refused");
    assert_eq!(why.code(), Code::PermissionDenied);
    let why = asks.watch(Request::new(WatchRequest::default())).await.expect_err("refused");
    assert_eq!(why.code(), Code::Unauthenticated);
    let why = asks.incidents(Request::new(IncidentsRequest::default())).await.expect_err("refused");
    assert_eq!(why.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn whoever_watches_hears_what_was_wished_for_until_the_token_is_revoked() {
    let hub = run().await;
    let wish = WatchRequest { source: "10.0.0.0/24".to_owned(), ..WatchRequest::default() };
    let mut news = hub.asks().await.watch(hub.call(READ, wish)).await.expect("a stream").into_inner();
    assert_eq!(heard(&mut news).await.expect("a greeting"), News::default());
    hub.send(&["10.0.1.1", "10.0.0.1"]).await;
    let (mut events, mut born) = (Vec::new(), 0);
    while events.is_empty() || born < 2 {
        match heard(&mut news).await.expect("news").news {
            Some(news::News::Event(event)) => events.push(event.line),
            Some(news::News::Change(change)) => born += u32::from(change.born),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(events, [line("10.0.0.1")]);
    let store = hub.hub.store();
    for token in store.documents("token").await.expect("tokens") {
        store.remove(token, "test".to_owned(), hub.hub.now()).await.expect("an answer").expect("removed");
    }
    let why = heard(&mut news).await.expect_err("an end");
    assert_eq!(why.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn the_hub_says_what_it_speaks() {
    let hub = run().await;
    let mut asks = ServerReflectionClient::with_origin(hub.wire().await, hub.base.parse().expect("an address"));
    let request = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = vec![
        request(MessageRequest::ListServices(String::new())),
        request(MessageRequest::FileContainingSymbol("aviary.hub.v1.Hub.Watch".to_owned())),
    ];
    let answers = asks.server_reflection_info(tokio_stream::iter(questions)).await.expect("a stream");
    let mut answers = answers.into_inner();
    let mut next = async || answers.message().await.expect("an answer").and_then(|answer| answer.message_response);
    let Some(MessageResponse::ListServicesResponse(list)) = next().await else { panic!("no list") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"aviary.hub.v1.Hub") && names.contains(&"aviary.ingest.v1.Ingest"), "{names:?}");
    let Some(MessageResponse::FileDescriptorResponse(file)) = next().await else { panic!("no file") };
    assert!(!file.file_descriptor_proto.is_empty());
}
