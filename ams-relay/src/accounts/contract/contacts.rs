//! What a store makes of requests, answers and refusals.

use super::*;

pub(super) async fn redeeming(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    for (who, number) in [("alice", 1), ("bob", 2), ("carol", 3)] {
        user(a, who, number).await;
    }
    let (of_bob, other) = (RoutingId([7; 16]), RoutingId([8; 16]));
    let redeem =
        |who: &str, own, by, intro: &str| a.redeem(&name(who), handle(own), by, blob(intro), NOW);
    // Whether or not it is anybody's.
    assert!(redeem("alice", 1, of_bob, "sealed").await.unwrap().is_some());
    assert!(redeem("carol", 3, other, "sealed too").await.unwrap().is_some());
    assert!(redeem("alice", 1, of_bob, "sealed").await.unwrap().is_some());
    assert!(redeem("alice", 1, other, "sealed").await.unwrap().is_none());
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    assert!(a.requests(&name("alice"), NOW, 9).await.unwrap().is_empty());
    let shown = a.redeemed(vec![of_bob], NOW, 9).await.unwrap();
    assert_eq!((shown.len(), &shown[0].from, shown[0].by), (1, &name("alice"), of_bob));
    assert!(a.redeemed(vec![of_bob], NOW + ASK_LIFE, 9).await.unwrap().is_empty());
    assert_eq!(a.redeemed(vec![of_bob, other], NOW, 9).await.unwrap().len(), 2);
    assert_eq!(a.redeemed(vec![of_bob, other], NOW, 1).await.unwrap().len(), 1);
    // Only whoever names the link answers it, and then it is a row like any other.
    for link in [None, Some(other)] {
        let wrong = Approval { link, ..yes("carol", 5, "alice", 1) };
        assert!(!a.approve(wrong, NOW).await.unwrap().theirs);
    }
    let (link, intro) = (Some(of_bob), intro_id("sealed"));
    let right = Approval { link, intro, ..yes("bob", 2, "alice", 1) };
    assert!(a.approve(right.clone(), NOW).await.unwrap().theirs);
    assert!(a.approve(right, NOW).await.unwrap().theirs, "said again after a lost answer");
    assert!(a.redeemed(vec![of_bob], NOW, 9).await.unwrap().is_empty());
    let row = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!((&row.peer, row.open_to(), row.by), (&name("bob"), Some(handle(2)), None));
    assert!(ask(a, "alice", 1, "bob", "a renewal", NOW).await);
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap().len(), 1);
    // What was redeemed and not answered goes with the device.
    a.enrol(&name("carol"), key(9)).await.unwrap();
    assert!(a.redeemed(vec![other], NOW, 9).await.unwrap().is_empty());
}

pub(super) async fn asking(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    // Whether bob exists or not.
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    let requests = a.requests(&name("bob"), NOW, 9).await.unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!((&requests[0].from, requests[0].their_handle), (&name("alice"), handle(1)));
    // The same again keeps its first moment; other bytes take the place.
    assert!(ask(a, "alice", 1, "bob", "intro", NOW + DAY).await);
    assert!(a.requests(&name("bob"), NOW + ASK_LIFE, 9).await.unwrap().is_empty());
    assert!(ask(a, "alice", 1, "bob", "other", NOW + DAY).await);
    assert_eq!(a.requests(&name("bob"), NOW + ASK_LIFE, 9).await.unwrap()[0].intro, blob("other"));
    assert!(!ask(a, "alice", 1, "carol", "intro", NOW + DAY).await);
    // The oldest first, and no more than asked for.
    user(a, "carol", 3).await;
    assert!(ask(a, "carol", 3, "bob", "older", NOW).await);
    let first = a.requests(&name("bob"), NOW + DAY, 1).await.unwrap();
    assert_eq!(first[0].from, name("carol"));
    // However often somebody asks, it is one request.
    assert!(ask(a, "carol", 4, "bob", "newer", NOW + 1).await);
    let shown = a.requests(&name("bob"), NOW + DAY, 9).await.unwrap();
    let shown: Vec<_> = shown.into_iter().map(|request| request.intro).collect();
    assert_eq!(shown, [blob("newer"), blob("other")]);
    // Oneself is nobody's contact.
    assert!(ask(a, "alice", 4, "alice", "intro", NOW).await);
    assert!(a.requests(&name("alice"), NOW, 9).await.unwrap().is_empty());
    let approved = a.approve(yes("alice", 5, "alice", 4), NOW).await.unwrap();
    assert!(!approved.theirs && approved.own.is_none());
    // Unanswered, it is gone after its time, and the handle is free.
    let later = NOW + DAY + ASK_LIFE;
    assert!(rows(a, 1, later).await.is_empty());
    assert!(a.row(&name("alice"), handle(1), later).await.unwrap().is_none());
    let late = a.approve(yes("bob", 2, "alice", 1), later).await.unwrap();
    assert!(!late.theirs && late.own.is_some());
    a.sweep(later).await.unwrap();
    assert!(a.row(&name("alice"), handle(1), NOW).await.unwrap().is_none());
    assert!(ask(a, "alice", 1, "carol", "intro", later).await);
}

pub(super) async fn approving(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    user(a, "bob", 2).await;
    // Where there is nothing to accept, the approver's row looks the same and leads nowhere.
    let alone = a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap();
    assert!(!alone.theirs && alone.own.unwrap().open_to() == Some(handle(1)));
    assert!(rows(a, 1, NOW).await.is_empty());
    // No way around the limits of asking.
    assert!(ask(a, "bob", 2, "alice", "unasked", NOW).await);
    assert!(a.requests(&name("alice"), NOW, 9).await.unwrap().is_empty());
    a.remove(&name("bob"), handle(2)).await.unwrap();
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    // Not by somebody else than was asked.
    user(a, "carol", 3).await;
    assert!(!a.approve(yes("carol", 3, "alice", 1), NOW).await.unwrap().theirs);
    let approved = a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap();
    assert!(approved.theirs);
    let own = approved.own.unwrap();
    assert_eq!((own.open_to(), own.approval), (Some(handle(1)), None));
    let theirs = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!(theirs.open_to(), Some(handle(2)));
    assert_eq!((theirs.intro, theirs.approval), (None, Some(blob("bob says yes"))));
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    let fetched = a.fetched(&name("alice"), handle(1), approval_id("bob")).await.unwrap().unwrap();
    assert_eq!(fetched.approval, None);
    // An accepted row stays for good.
    assert_eq!(rows(a, 1, NOW + 99 * DAY).await.len(), 1);
    // A renewal, on the row; declined, it leaves it as it was.
    assert!(ask(a, "alice", 1, "bob", "again", NOW).await);
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap().len(), 1);
    a.refuse(&name("bob"), &name("alice"), handle(1)).await.unwrap();
    let row = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!((row.shown(), row.intro), (RowState::Accepted, Some(blob("again"))));
    // The same again is declined already, another one is not.
    assert!(ask(a, "alice", 1, "bob", "again", NOW).await);
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    assert!(ask(a, "alice", 1, "bob", "please", NOW).await);
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap()[0].intro, blob("please"));
    a.sweep(NOW + ASK_LIFE).await.unwrap();
    let row = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!((row.shown(), row.intro), (RowState::Accepted, None));
}

pub(super) async fn crossing(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    user(a, "bob", 2).await;
    assert!(ask(a, "alice", 1, "bob", "from alice", NOW).await);
    assert!(ask(a, "bob", 2, "alice", "from bob", NOW).await);
    let approval = Approval { intro: intro_id("from alice"), ..yes("bob", 2, "alice", 1) };
    assert!(a.approve(approval, NOW).await.unwrap().theirs);
    // Bob's own question is not answered by that.
    assert_eq!(a.requests(&name("alice"), NOW, 9).await.unwrap()[0].intro, blob("from bob"));
    let approval = Approval { intro: intro_id("from bob"), ..yes("alice", 1, "bob", 2) };
    assert!(a.approve(approval, NOW).await.unwrap().theirs);
    let alice = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    let bob = a.row(&name("bob"), handle(2), NOW).await.unwrap().unwrap();
    assert_eq!(alice.approval, Some(blob("bob says yes")));
    assert_eq!(bob.approval, Some(blob("alice says yes")));
    assert_eq!((alice.open_to(), bob.open_to()), (Some(handle(2)), Some(handle(1))));
    // A handle that is another contact's is not given away.
    user(a, "carol", 3).await;
    assert!(ask(a, "carol", 3, "bob", "from carol", NOW).await);
    let approval = Approval { intro: intro_id("from carol"), ..yes("bob", 2, "carol", 3) };
    let taken = a.approve(approval, NOW).await.unwrap();
    assert!(!taken.theirs && taken.own.is_none());
}

/// An answer to what was asked before is none to what is asked now, and that it was fetched says
/// nothing of a later one.
pub(super) async fn asking_anew(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    user(a, "bob", 2).await;
    let row = async || a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    assert!(a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    // Said again after a lost answer, it costs nobody the answer.
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    assert_eq!(row().await.approval, Some(blob("bob says yes")));
    assert!(ask(a, "alice", 1, "bob", "again", NOW).await);
    let late = a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap();
    assert_eq!((late.theirs, late.own.unwrap().open_to()), (false, Some(handle(1))));
    assert_eq!(row().await.intro, Some(blob("again")));
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap()[0].intro, blob("again"));

    let answer = Approval {
        intro: intro_id("again"),
        blob: blob("bob says yes again"),
        ..yes("bob", 2, "alice", 1)
    };
    assert!(a.approve(answer, NOW).await.unwrap().theirs);
    a.fetched(&name("alice"), handle(1), approval_id("bob")).await.unwrap();
    assert_eq!(row().await.approval, Some(blob("bob says yes again")));
}

/// Whoever approved what was withdrawn is a contact after all when it is asked again.
pub(super) async fn a_claim_comes_true(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    user(a, "bob", 2).await;
    assert!(!a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    assert!(a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    assert!(ask(a, "bob", 2, "alice", "keys", NOW).await);
    assert_eq!(a.requests(&name("alice"), NOW, 9).await.unwrap()[0].intro, blob("keys"));
    // Once agreed stays agreed, also when the other row is gone.
    a.remove(&name("alice"), handle(1)).await.unwrap();
    assert!(!a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    assert_eq!(a.requests(&name("alice"), NOW, 9).await.unwrap().len(), 1);
}

pub(super) async fn refusing_and_blocking(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    a.refuse(&name("carol"), &name("alice"), handle(1)).await.unwrap();
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap().len(), 1);
    a.refuse(&name("bob"), &name("alice"), handle(1)).await.unwrap();
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    let row = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!(row.shown(), RowState::Asked);
    assert!(!a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    // The same question stays declined, a new one is asked.
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    assert!(ask(a, "alice", 1, "bob", "please", NOW).await);
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap().len(), 1);
    // Blocked, nobody sees it and nobody can answer.
    let blocked = a.block(&name("alice"), handle(1), true).await.unwrap().unwrap();
    assert_eq!(blocked.shown(), RowState::Blocked);
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    let approval = || Approval { intro: intro_id("please"), ..yes("bob", 2, "alice", 1) };
    assert!(!a.approve(approval(), NOW).await.unwrap().theirs);
    assert!(!ask(a, "alice", 1, "bob", "more", NOW).await);
    a.block(&name("alice"), handle(1), false).await.unwrap();
    assert!(a.approve(approval(), NOW).await.unwrap().theirs);
    assert!(a.block(&name("alice"), handle(9), true).await.unwrap().is_none());
    a.remove(&name("alice"), handle(1)).await.unwrap();
    a.remove(&name("alice"), handle(1)).await.unwrap();
    assert!(rows(a, 1, NOW).await.is_empty());
}
