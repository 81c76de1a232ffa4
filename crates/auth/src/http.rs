//! An HTTP service, asked by the protocol of RabbitMQ's `rabbitmq_auth_backend_http`.
//!
//! Each question is a request with a form, in the URL or in the body. The answer is the word `allow`
//! or `deny` in the body, with status 200 or 201; behind `allow` a login has the user's tags, behind
//! `deny` there may be a reason.

use std::time::Duration;

use form_urlencoded::Serializer;
use leveret_broker::access::{Decision, Question, User};
use leveret_outbound::{Answer, CONTENT_TYPE, HttpClient, HttpError, Method, StatusCode, Trust};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::login::Credentials;
use crate::settings::{HttpMethod, HttpSettings};
use crate::trouble::Trouble;

/// Longest answer that is read, in bytes.
pub(crate) const ANSWER_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct HttpBackend {
    settings: HttpSettings,
    client: HttpClient,
    /// One for each request there may be: clients that wait must not take all descriptors.
    places: Semaphore,
    trouble: Trouble,
}

/// What the service says of a login.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Allowed { tags: Vec<String> },
    Denied,
}

/// Why there is no answer. The log says more than clients are told.
#[derive(Debug, Error)]
pub(crate) enum Unanswered {
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("no answer within {} ms", .0.as_millis())]
    TooSlow(Duration),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is neither allow nor deny")]
    Nonsense,
}

impl Unanswered {
    /// For clients: nothing of where the service is.
    pub(crate) fn code(&self) -> String {
        match self {
            Self::Http(HttpError::Connect(_)) => "failed_connect".to_owned(),
            Self::Http(_) => "failed_request".to_owned(),
            Self::TooSlow(_) => "timeout".to_owned(),
            Self::Status(status) => format!("{{bad_status,{}}}", status.as_u16()),
            Self::Nonsense => "bad_response".to_owned(),
        }
    }
}

impl HttpBackend {
    pub(crate) fn new(settings: HttpSettings, trouble: Trouble) -> Self {
        let tls = settings.tls.clone();
        let trust = Trust::new(tls.ca_file, tls.cert_file.zip(tls.key_file)).up_to(tls.depth);
        let places = Semaphore::new(settings.requests_max);
        Self { settings, client: HttpClient::new(trust), places, trouble }
    }

    /// Asks whether a login is right.
    pub(crate) async fn log_in(&self, credentials: &Credentials) -> Result<Login, Unanswered> {
        let said = self.ask(&self.settings.user_path, login_form(credentials)).await?;
        match first_word(&said) {
            ("deny", _) => Ok(Login::Denied),
            ("allow", tags) => {
                let tags = tags.split_whitespace().map(str::to_owned).collect();
                Ok(Login::Allowed { tags })
            }
            _ => Err(Unanswered::Nonsense),
        }
    }

    /// Asks whether a user may do something.
    pub(crate) async fn decide(
        &self,
        user: &User,
        address: &str,
        vhost: &str,
        question: &Question,
    ) -> Result<Decision, Unanswered> {
        let path = match question {
            Question::Vhost => &self.settings.vhost_path,
            Question::Resource { .. } => &self.settings.resource_path,
            Question::Topic { .. } => &self.settings.topic_path,
        };
        let form = question_form(user, address, vhost, question);
        let said = self.ask(path, form).await?;
        match first_word(&said) {
            ("allow", "") => Ok(Decision::Allowed),
            ("deny", reason) if !reason.is_empty() && self.settings.discloses => {
                let why = format!(" by backend rabbit_auth_backend_http: {reason}");
                Ok(Decision::Refused(Some(why.into())))
            }
            ("deny", _) => Ok(Decision::REFUSED),
            _ => Err(Unanswered::Nonsense),
        }
    }

    async fn ask(&self, path: &str, form: String) -> Result<String, Unanswered> {
        let limit = self.settings.request_timeout;
        let answer = match timeout(limit, self.send(path, form)).await {
            Err(_) => Err(Unanswered::TooSlow(limit)),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(answer)) => read(&answer),
        };
        self.trouble.note(&answer);
        answer
    }

    /// Sends a request once there is a place for it.
    async fn send(&self, path: &str, form: String) -> Result<Answer, HttpError> {
        let _place = self.places.acquire().await;
        match self.settings.method {
            HttpMethod::Get => {
                let url = format!("{path}?{form}");
                let get = |request: leveret_outbound::RequestBuilder| request.method(Method::GET);
                self.client.send(&url, get, bytes::Bytes::new(), ANSWER_MAX).await
            }
            HttpMethod::Post => {
                let post = |request: leveret_outbound::RequestBuilder| {
                    let form = "application/x-www-form-urlencoded";
                    request.method(Method::POST).header(CONTENT_TYPE, form)
                };
                self.client.send(path, post, form.into(), ANSWER_MAX).await
            }
        }
    }
}

fn login_form(credentials: &Credentials) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("username", &credentials.user);
    if let Some(password) = &credentials.password {
        form.append_pair("password", &String::from_utf8_lossy(password));
    }
    if let Some(vhost) = &credentials.vhost {
        form.append_pair("vhost", vhost);
    }
    form.finish()
}

fn question_form(user: &User, address: &str, vhost: &str, question: &Question) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("username", &user.name).append_pair("vhost", vhost);
    match question {
        Question::Vhost => {
            form.append_pair("ip", address);
        }
        Question::Resource { kind, of, name } => {
            form.append_pair("resource", of.name())
                .append_pair("name", name)
                .append_pair("permission", kind.name());
        }
        Question::Topic { kind, exchange, routing_key } => {
            form.append_pair("resource", "topic")
                .append_pair("name", exchange)
                .append_pair("permission", kind.name())
                .append_pair("routing_key", routing_key)
                .append_pair("variable_map.username", &user.name)
                .append_pair("variable_map.vhost", vhost);
        }
    }
    form.append_pair("tags", &user.tags.join(" "));
    form.finish()
}

fn read(answer: &Answer) -> Result<String, Unanswered> {
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => {
            Ok(String::from_utf8_lossy(&answer.body).trim().to_owned())
        }
        status => Err(Unanswered::Status(status)),
    }
}

/// The word in small letters, and what follows it.
fn first_word(text: &str) -> (&'static str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let known = ["allow", "deny"].into_iter().find(|known| known.eq_ignore_ascii_case(word));
    (known.unwrap_or_default(), rest.trim())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    use tokio::task::JoinSet;

    use super::*;
    use crate::settings::{Backend, Settings};

    const QUESTIONS: usize = 5;

    fn await_question(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream
    }

    fn allow(mut stream: TcpStream) {
        let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nallow";
        stream.write_all(answer.as_bytes()).unwrap();
    }

    #[tokio::test]
    async fn no_more_is_asked_at_a_time_than_may_be() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let user_path = format!("http://{}/user", listener.local_addr().unwrap());
        let settings = Settings::default().http;
        let settings = HttpSettings { user_path, requests_max: 2, ..settings };
        let service = thread::spawn(move || {
            let mut asked = VecDeque::from([(); 2].map(|()| await_question(&listener)));
            listener.set_nonblocking(true).unwrap();
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
            listener.set_nonblocking(false).unwrap();
            for _ in 2..QUESTIONS {
                asked.drain(..1).for_each(allow);
                asked.push_back(await_question(&listener));
            }
            asked.into_iter().for_each(allow);
        });
        let backend = Arc::new(HttpBackend::new(settings, Trouble::of(Backend::Http)));
        let mut asking = JoinSet::new();
        for _ in 0..QUESTIONS {
            let backend = Arc::clone(&backend);
            asking.spawn(
                async move { backend.ask(&backend.settings.user_path, String::new()).await },
            );
        }
        for answer in asking.join_all().await {
            assert_eq!(answer.unwrap(), "allow");
        }
        service.join().unwrap();
    }

    #[test]
    fn an_answer_is_a_word_and_what_follows() {
        assert_eq!(first_word("allow"), ("allow", ""));
        assert_eq!(
            first_word("Allow administrator  management"),
            ("allow", "administrator  management")
        );
        assert_eq!(first_word("DENY because"), ("deny", "because"));
        assert_eq!(first_word("allowed"), ("", ""));
        assert_eq!(first_word(""), ("", ""));
    }

    #[test]
    fn clients_hear_nothing_of_where_the_service_is() {
        let refused = std::io::Error::other("10.0.0.1 refused");
        let error = Unanswered::Http(HttpError::Connect(refused));
        assert_eq!(error.code(), "failed_connect");
        assert_eq!(Unanswered::Status(StatusCode::NOT_FOUND).code(), "{bad_status,404}");
    }
}
