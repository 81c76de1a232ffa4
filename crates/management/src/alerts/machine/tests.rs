use std::collections::BTreeSet;
use std::time::Duration;

use leveret_server::config::Amount;

use super::super::silence::Silence;
use super::*;

fn rule(when: AlertKind, bound: Option<u64>) -> AlertRule {
    let amount = bound.map(Amount::Number);
    let (above, below) = if when == AlertKind::Disk { (None, amount) } else { (amount, None) };
    AlertRule {
        name: "r".to_owned(),
        when,
        vhost: None,
        queues: None,
        above,
        below,
        lasting: Duration::ZERO,
        over_after: Duration::ZERO,
        repeat: Duration::from_secs(100),
        notify: Vec::new(),
    }
}

fn machine(rule: AlertRule) -> Machine {
    let mut machine = Machine::default();
    machine.set_rules(&[rule]);
    machine
}

fn holding(ready: u64) -> QueueSample {
    QueueSample { id: 1, ready, ..QueueSample::default() }
}

/// A look at one queue; what is told as "firing" or "over" with the values.
fn look(machine: &mut Machine, second: u64, sample: &QueueSample) -> Vec<(bool, Vec<u64>)> {
    look_silenced(machine, second, sample, &Silences::default())
}

fn look_silenced(
    machine: &mut Machine,
    second: u64,
    sample: &QueueSample,
    silences: &Silences,
) -> Vec<(bool, Vec<u64>)> {
    let mut look = machine.look(Millis(second * 1000));
    look.queue(&"/".into(), &"q".into(), sample);
    look.node(&NodeSample::default());
    told(look.end(silences))
}

fn look_at_node(machine: &mut Machine, second: u64, sample: &NodeSample) -> Vec<(bool, Vec<u64>)> {
    let mut look = machine.look(Millis(second * 1000));
    look.node(sample);
    told(look.end(&Silences::default()))
}

fn told(notices: Vec<Notice>) -> Vec<(bool, Vec<u64>)> {
    let values = |notice: &Notice| notice.alerts.iter().map(|one| one.value).collect();
    notices.iter().map(|notice| (notice.is_firing, values(notice))).collect()
}

const NOTHING: [(bool, Vec<u64>); 0] = [];

#[test]
fn a_backlog_is_told_of_once_then_at_the_interval_and_when_it_is_over() {
    let mut machine = machine(rule(AlertKind::Backlog, Some(10)));
    assert_eq!(look(&mut machine, 0, &holding(10)), NOTHING);
    assert_eq!(look(&mut machine, 1, &holding(11)), [(true, vec![11])]);
    assert_eq!(look(&mut machine, 100, &holding(12)), NOTHING);
    assert_eq!(look(&mut machine, 101, &holding(13)), [(true, vec![13])]);
    assert_eq!(look(&mut machine, 102, &holding(3)), [(false, vec![13])]);
    assert_eq!(look(&mut machine, 103, &holding(3)), NOTHING);
}

#[test]
fn it_has_to_last_without_a_break() {
    let lasting = Duration::from_secs(10);
    let mut machine = machine(AlertRule { lasting, ..rule(AlertKind::Backlog, Some(0)) });
    assert_eq!(look(&mut machine, 0, &holding(1)), NOTHING);
    assert_eq!(look(&mut machine, 9, &holding(1)), NOTHING);
    // What nobody was told of is not over either.
    assert_eq!(look(&mut machine, 10, &holding(0)), NOTHING);
    assert_eq!(look(&mut machine, 11, &holding(1)), NOTHING);
    assert_eq!(look(&mut machine, 21, &holding(1)), [(true, vec![1])]);
}

#[test]
fn it_is_over_when_it_has_been_otherwise_for_long_enough() {
    let over_after = Duration::from_secs(60);
    let mut machine = machine(AlertRule { over_after, ..rule(AlertKind::Backlog, Some(0)) });
    assert_eq!(look(&mut machine, 0, &holding(1)), [(true, vec![1])]);
    assert_eq!(look(&mut machine, 59, &holding(0)), NOTHING);
    assert_eq!(look(&mut machine, 60, &holding(2)), NOTHING);
    assert_eq!(look(&mut machine, 119, &holding(0)), NOTHING);
    assert_eq!(look(&mut machine, 120, &holding(0)), [(false, vec![2])]);
}

#[test]
fn a_queue_that_is_deleted_is_over() {
    let mut machine = machine(rule(AlertKind::Backlog, Some(0)));
    look(&mut machine, 0, &holding(1));
    assert_eq!(look_at_node(&mut machine, 1, &NodeSample::default()), [(false, vec![1])]);
}

#[test]
fn the_first_message_may_be_so_old() {
    let mut machine = machine(rule(AlertKind::Age, Some(5)));
    let waiting = |at| QueueSample { first_published: Some(Millis(at)), ..holding(1) };
    assert_eq!(look(&mut machine, 10, &waiting(5000)), NOTHING);
    assert_eq!(look(&mut machine, 10, &waiting(4999)), [(true, vec![5001])]);
    assert_eq!(look(&mut machine, 11, &QueueSample::default()), [(false, vec![5001])]);
}

#[test]
fn a_queue_with_messages_needs_consumers() {
    let mut machine = machine(rule(AlertKind::NoConsumers, None));
    assert_eq!(look(&mut machine, 0, &holding(0)), NOTHING);
    assert_eq!(look(&mut machine, 1, &QueueSample { consumers: 1, ..holding(5) }), NOTHING);
    assert_eq!(look(&mut machine, 2, &holding(5)), [(true, vec![5])]);
}

#[test]
fn dead_letters_that_arrive_are_told_of_until_the_queue_is_empty() {
    let mut machine = machine(rule(AlertKind::DeadLetters, None));
    let dead = |received, ready| QueueSample { received, ..holding(ready) };
    // Those that were there before are old news.
    assert_eq!(look(&mut machine, 0, &dead(5, 5)), NOTHING);
    assert_eq!(look(&mut machine, 1, &dead(5, 5)), NOTHING);
    assert_eq!(look(&mut machine, 2, &dead(7, 7)), [(true, vec![7])]);
    assert_eq!(look(&mut machine, 3, &dead(7, 7)), NOTHING);
    assert_eq!(look(&mut machine, 4, &dead(7, 0)), [(false, vec![7])]);
    // One that came and went between two looks has come as well.
    assert_eq!(look(&mut machine, 5, &dead(8, 0)), [(true, vec![1])]);
    // Another queue of the same name, which has got one.
    let other = QueueSample { id: 2, ..dead(1, 1) };
    assert_eq!(look(&mut machine, 6, &other), NOTHING);
    assert_eq!(look(&mut machine, 7, &QueueSample { ready: 0, ..other }), [(false, vec![1])]);
}

#[test]
fn the_node_is_looked_at_by_its_alarms_or_by_bounds() {
    let short = NodeSample {
        memory_alarm: true,
        memory_bytes: Some(50),
        disk_alarm: true,
        disk_free_bytes: Some(20),
        unroutable: 0,
    };
    let cases = [
        (AlertKind::Memory, None, Some(50)),
        (AlertKind::Memory, Some(49), Some(50)),
        (AlertKind::Memory, Some(50), None),
        (AlertKind::Disk, None, Some(20)),
        (AlertKind::Disk, Some(21), Some(20)),
        (AlertKind::Disk, Some(20), None),
    ];
    for (when, bound, expected) in cases {
        let mut machine = machine(rule(when, bound));
        let expected: Vec<_> = expected.map(|value| (true, vec![value])).into_iter().collect();
        assert_eq!(look_at_node(&mut machine, 0, &short), expected, "{when:?} {bound:?}");
    }
}

#[test]
fn messages_without_a_route_are_counted_from_look_to_look() {
    let mut machine = machine(rule(AlertKind::Unroutable, Some(1)));
    let lost = |unroutable| NodeSample { unroutable, ..NodeSample::default() };
    assert_eq!(look_at_node(&mut machine, 0, &lost(10)), NOTHING);
    assert_eq!(look_at_node(&mut machine, 1, &lost(11)), NOTHING);
    assert_eq!(look_at_node(&mut machine, 2, &lost(13)), [(true, vec![2])]);
    assert_eq!(look_at_node(&mut machine, 3, &lost(13)), [(false, vec![2])]);
}

#[test]
fn what_is_silenced_is_told_when_the_silence_is_over() {
    let mut machine = machine(rule(AlertKind::Backlog, Some(0)));
    let mut silences = Silences::default();
    let silence = |rule: &str| Silence {
        id: 0,
        rule: Some(rule.to_owned()),
        vhost: Some("/".to_owned()),
        queue: Some("q".to_owned()),
        until: 10_000,
        comment: String::new(),
        user: String::new(),
    };
    let id = silences.add(silence("r"), Millis(0)).unwrap();
    assert_eq!(look_silenced(&mut machine, 1, &holding(1), &silences), NOTHING);
    assert_eq!(machine.firing().map(|(_, alerts)| alerts.len()).sum::<usize>(), 1);
    assert_eq!(look_silenced(&mut machine, 10, &holding(1), &silences), [(true, vec![1])]);
    assert!(!silences.remove(id, Millis(10_000)), "it has ended by itself");

    let id = silences.add(silence("another"), Millis(0)).unwrap();
    assert_eq!(look_silenced(&mut machine, 11, &holding(0), &silences), [(false, vec![1])]);
    assert!(silences.remove(id, Millis(0)));
}

#[test]
fn a_rule_looks_at_the_queues_it_names_and_tells_of_them_together() {
    let queues = Some("^a".to_owned());
    let mut machine =
        machine(AlertRule { queues, vhost: Some("v".into()), ..rule(AlertKind::Backlog, Some(0)) });
    let mut look = machine.look(Millis(1));
    for (vhost, queue) in [("v", "a1"), ("v", "a2"), ("v", "b"), ("/", "a3")] {
        look.queue(&vhost.into(), &queue.into(), &holding(1));
    }
    let notices = look.end(&Silences::default());
    assert_eq!(notices.len(), 1);
    let names: Vec<_> = notices[0].alerts.iter().map(|one| one.subject.clone()).collect();
    let subject = |queue: &str| Subject::Queue { vhost: "v".into(), queue: queue.into() };
    assert_eq!(names, [subject("a1"), subject("a2")]);
}

#[test]
fn a_rule_that_stays_keeps_what_it_knows() {
    let same = rule(AlertKind::Backlog, Some(0));
    let mut machine = machine(same.clone());
    look(&mut machine, 0, &holding(1));
    let other = AlertRule { name: "s".to_owned(), ..same.clone() };
    machine.set_rules(&[other.clone(), same]);
    // Only the new one has news.
    assert_eq!(look(&mut machine, 1, &holding(1)), [(true, vec![1])]);
    machine.set_rules(&[other]);
    assert_eq!(look(&mut machine, 2, &holding(0)), [(false, vec![1])]);
}

#[test]
fn alerts_of_a_rule_are_bounded() {
    let mut machine = machine(rule(AlertKind::Backlog, Some(0)));
    let mut look = machine.look(Millis(1));
    for number in 0..ALERTS_MAX + 5 {
        look.queue(&"/".into(), &format!("q{number}").into(), &holding(1));
    }
    let told: usize = look.end(&Silences::default()).iter().map(|one| one.alerts.len()).sum();
    assert_eq!(told, ALERTS_MAX);
}

/// Against a model that remembers nothing but when each queue was over the bound and told of.
#[test]
fn random_histories_tell_what_the_model_tells() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..200 {
        let (lasting, over_after) = (random(4), random(4));
        let rule = AlertRule {
            lasting: Duration::from_secs(lasting),
            over_after: Duration::from_secs(over_after),
            repeat: Duration::from_secs(7),
            ..rule(AlertKind::Backlog, Some(0))
        };
        let mut machine = machine(rule);
        let (mut run, mut calm, mut firing, mut told_at) = ([0; 3], [0; 3], [false; 3], [None; 3]);
        for second in 1..60_u64 {
            let met: Vec<bool> = (0..3).map(|_| random(3) > 0).collect();
            let mut look = machine.look(Millis(second * 1000));
            for (queue, is_met) in met.iter().enumerate() {
                let name = format!("q{queue}").into();
                look.queue(&"/".into(), &name, &holding(u64::from(*is_met)));
            }
            let mut seen = [BTreeSet::new(), BTreeSet::new()];
            for notice in look.end(&Silences::default()) {
                let subjects = notice.alerts.into_iter().map(|one| one.subject);
                seen[usize::from(notice.is_firing)].extend(subjects);
            }
            for queue in 0..3 {
                let subject =
                    Subject::Queue { vhost: "/".into(), queue: format!("q{queue}").into() };
                let mut is_over = false;
                if met[queue] {
                    (run[queue], calm[queue]) = (run[queue] + 1, 0);
                    firing[queue] |= run[queue] > lasting;
                } else {
                    (run[queue], calm[queue]) = (0, calm[queue] + 1);
                    is_over = firing[queue] && calm[queue] >= over_after.max(1);
                    firing[queue] &= !is_over;
                }
                let is_due = told_at[queue].is_none_or(|at| second - at >= 7);
                let is_told = met[queue] && firing[queue] && is_due;
                if is_told {
                    told_at[queue] = Some(second);
                }
                if is_over {
                    told_at[queue] = None;
                }
                assert_eq!(seen[1].contains(&subject), is_told, "{queue} at {second}");
                assert_eq!(seen[0].contains(&subject), is_over, "{queue} at {second}");
            }
        }
    }
}
