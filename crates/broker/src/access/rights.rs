//! What a session may do, whoever decides it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use leveret_engine::Millis;

use super::authority::{Authority, Decision, Question, ResourceKind};
use super::cache::{PermissionCache, Recent};
use super::permission::PermissionKind;
use super::principal::{Principal, Rights};
use super::token::{TokenRights, VhostRights};
use super::topic_permission::TopicPermissionKind;
use super::{AccessControl, Standing};
use crate::refusal::Resource;

/// How long an answer from outside holds, in milliseconds. RabbitMQ's channels keep theirs for as
/// long as they are busy.
const REMEMBERED: u64 = 60_000;

/// Answers one session's questions.
pub(crate) struct SessionRights {
    access: Arc<AccessControl>,
    vhost: Box<str>,
    source: Source,
    /// Grows whenever answers may be others for a reason of this session's own.
    own_generation: u64,
    /// Changes with the broker's own user of that name: who else decides may have looked at their tags.
    changed: Arc<AtomicU64>,
}

enum Source {
    /// Everything is allowed, to the broker itself.
    System,
    Internal(PermissionCache),
    Token(Token),
    Remote(Answers),
}

/// Whether something is allowed, as far as it is known.
pub(crate) enum Verdict {
    Known(Decision),
    /// Somebody has to be asked first.
    Open,
}

/// What a token allows, until it expires.
struct Token {
    of_all: Arc<TokenRights>,
    rights: VhostRights,
    has_expired: bool,
}

/// What somebody outside has answered.
struct Answers {
    authority: Arc<dyn Authority>,
    /// Whether to wait for the answer, or to leave the question behind.
    waits: bool,
    /// What was allowed of late.
    allowed: Recent<Question>,
    /// When that is forgotten.
    until: Millis,
    /// Answers for what is being done at the moment, however many it takes.
    at_hand: AHashMap<Question, Decision>,
    /// What has to be asked for it.
    open: VecDeque<Question>,
}

impl SessionRights {
    /// What the principal may do in the vhost. With `waits` the session has a thread on which it may
    /// wait for somebody outside.
    pub(crate) fn new(
        access: &Arc<AccessControl>,
        principal: &Principal,
        vhost: &str,
        waits: bool,
    ) -> Self {
        let source = match &principal.rights {
            Rights::Internal => {
                let name = &principal.user.name;
                Source::Internal(PermissionCache::new(Arc::clone(access), name, vhost))
            }
            Rights::Token(token) => Source::Token(Token {
                rights: token.in_vhost(vhost),
                of_all: Arc::clone(token),
                has_expired: false,
            }),
            Rights::Remote(authority) => Source::Remote(Answers {
                authority: Arc::clone(authority),
                waits,
                allowed: Recent::new(),
                until: Millis(0),
                at_hand: AHashMap::new(),
                open: VecDeque::new(),
            }),
        };
        let Standing { changed, .. } = access.standing(&principal.user.name, vhost);
        let access = Arc::clone(access);
        Self { access, vhost: vhost.into(), source, own_generation: 0, changed }
    }

    /// Everything.
    pub(crate) fn of_system(access: &Arc<AccessControl>) -> Self {
        let access = Arc::clone(access);
        let (vhost, changed) = Default::default();
        Self { access, vhost, source: Source::System, own_generation: 0, changed }
    }

    /// Whether it is everything, reserved names included.
    pub(crate) fn are_of_system(&self) -> bool {
        matches!(self.source, Source::System)
    }

    /// As another login of the same user has them.
    pub(crate) fn replace(&mut self, principal: &Principal) {
        let own_generation = self.own_generation + 1;
        let waits = matches!(&self.source, Source::Remote(answers) if answers.waits);
        let replaced = Self::new(&self.access, principal, &self.vhost, waits);
        *self = Self { own_generation, ..replaced };
    }

    /// A number that changes whenever something may be allowed or refused that was not.
    pub(crate) fn generation(&self) -> u64 {
        let of_user = self.own_permissions();
        of_user.unwrap_or_else(|| self.changed.load(Ordering::Acquire)) + self.own_generation
    }

    /// A number that changes whenever the user's permissions do that the broker keeps; `None` if others decide.
    pub(crate) fn own_permissions(&self) -> Option<u64> {
        match &self.source {
            Source::Internal(permissions) => Some(permissions.generation()),
            _ => None,
        }
    }

    /// Answers from outside that are too old are forgotten.
    pub(crate) fn begin(&mut self, now: Millis) {
        match &mut self.source {
            Source::System | Source::Internal(_) => {}
            Source::Token(token) => {
                let has_expired = token.of_all.has_expired();
                if has_expired != token.has_expired {
                    token.has_expired = has_expired;
                    self.own_generation += 1;
                }
            }
            Source::Remote(answers) => {
                if answers.until <= now {
                    answers.until = Millis(now.0 + REMEMBERED);
                    answers.allowed.forget();
                    self.own_generation += 1;
                }
                if answers.waits {
                    answers.at_hand.clear();
                }
                // It is looked at again, and leaves them behind again.
                answers.open.clear();
            }
        }
    }

    /// Whether the vhost may be entered.
    pub(crate) fn may_enter(&mut self) -> Verdict {
        match &mut self.source {
            Source::System => Verdict::allowed(),
            Source::Internal(permissions) => Verdict::of(permissions.may_enter()),
            Source::Token(token) => token.verdict(VhostRights::may_enter),
            Source::Remote(answers) => answers.find(&self.vhost, Question::Vhost),
        }
    }

    /// Whether the exchange or queue may be accessed in that way.
    pub(crate) fn decide(&mut self, kind: PermissionKind, resource: Resource<'_>) -> Verdict {
        let (of, name) = match resource {
            Resource::Exchange("") => (ResourceKind::Exchange, "amq.default"),
            Resource::Exchange(name) => (ResourceKind::Exchange, name),
            Resource::Queue(name) => (ResourceKind::Queue, name),
        };
        match &mut self.source {
            Source::System => Verdict::allowed(),
            Source::Internal(permissions) => Verdict::of(permissions.allows(kind, name)),
            Source::Token(token) => token.verdict(|rights| rights.allows(kind, name)),
            Source::Remote(answers) => {
                answers.find(&self.vhost, Question::Resource { kind, of, name: name.into() })
            }
        }
    }

    /// Whether the key may be used on the topic exchange.
    pub(crate) fn decide_topic(
        &mut self,
        kind: TopicPermissionKind,
        exchange: &str,
        key: &str,
    ) -> Verdict {
        match &mut self.source {
            Source::System => Verdict::allowed(),
            Source::Internal(permissions) => {
                Verdict::of(permissions.allows_topic(kind, exchange, key))
            }
            Source::Token(token) => {
                let kind = match kind {
                    TopicPermissionKind::Write => PermissionKind::Write,
                    TopicPermissionKind::Read => PermissionKind::Read,
                };
                token.verdict(|rights| rights.allows_topic(kind, exchange, key))
            }
            Source::Remote(answers) => {
                let (exchange, routing_key) = (exchange.into(), key.into());
                answers.find(&self.vhost, Question::Topic { kind, exchange, routing_key })
            }
        }
    }

    /// What has to be asked before the session can go on: one after the other.
    pub(crate) fn open_question(&self) -> Option<(&Arc<dyn Authority>, &Question)> {
        let Source::Remote(answers) = &self.source else { return None };
        Some((&answers.authority, answers.open.front()?))
    }

    /// The answer to the open question.
    pub(crate) fn answer(&mut self, decision: Decision) {
        let Source::Remote(answers) = &mut self.source else { return };
        if let Some(question) = answers.open.pop_front() {
            answers.keep(question, decision);
        }
        // The same may have been left behind twice.
        let Answers { open, at_hand, .. } = answers;
        while open.pop_front_if(|next| at_hand.contains_key(next)).is_some() {}
    }

    /// Forgets what was answered from outside.
    pub(crate) fn forget(&mut self) {
        if let Source::Remote(answers) = &mut self.source {
            answers.allowed.forget();
            self.own_generation += 1;
        }
    }

    /// What was asked for is done: refusals are asked about again.
    pub(crate) fn settle(&mut self) {
        if let Source::Remote(answers) = &mut self.source {
            answers.at_hand.clear();
        }
    }
}

impl Token {
    fn verdict(&self, allows: impl FnOnce(&VhostRights) -> bool) -> Verdict {
        if self.has_expired {
            let why = ", backend rabbit_auth_backend_oauth2 returned an error: token expired";
            return Verdict::Known(Decision::Refused(Some(why.into())));
        }
        Verdict::of(allows(&self.rights))
    }
}

impl Answers {
    fn find(&mut self, vhost: &str, question: Question) -> Verdict {
        if self.allowed.find(|one| *one == question).is_some() {
            return Verdict::allowed();
        }
        if let Some(decision) = self.at_hand.get(&question) {
            return Verdict::Known(decision.clone());
        }
        if !self.waits {
            self.open.push_back(question);
            return Verdict::Open;
        }
        let decision = self.authority.ask_and_wait(vhost, &question);
        self.keep(question, decision.clone());
        Verdict::Known(decision)
    }

    fn keep(&mut self, question: Question, decision: Decision) {
        if decision.is_allowed() {
            self.allowed.remember(question.clone());
        }
        self.at_hand.insert(question, decision);
    }
}

impl Verdict {
    fn of(is_allowed: bool) -> Self {
        Self::Known(Decision::of(is_allowed))
    }

    fn allowed() -> Self {
        Self::Known(Decision::Allowed)
    }
}
