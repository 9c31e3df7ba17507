//! The smallest client of the admin API.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::Net;

/// Asks and gives back the status and the body.
pub(crate) async fn request(
    address: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> (u16, String) {
    let mut stream = Net::tcp().connect(address).await.unwrap();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let authorization =
        token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: application/json\r\n{authorization}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(!head.to_lowercase().contains("chunked"), "read this yourself");
    (status, body.to_owned())
}

/// Asks without a token, and reads the body as JSON.
pub(crate) async fn json(
    address: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let (status, body) = request(address, method, path, None, body).await;
    (status, serde_json::from_str(&body).unwrap())
}
