//! A question waits for its answer, and for nothing else that is said.

use ams_rpc::methods::{inbox, message};
use ams_rpc::types::{
    AnswerParams, AskParams, Asked, Message, MessageId, NoParams, SendParams, SendResult, State,
};
use ams_tests::connection::refusal;
use ams_tests::{Net, Person};

fn asks(body: &str, choices: &[&str], timeout: &str) -> AskParams {
    let choices = choices.iter().map(|&choice| choice.to_owned()).collect();
    AskParams {
        to: "bob".to_owned(),
        body: body.to_owned(),
        choices: Some(choices),
        timeout: Some(timeout.parse().unwrap()),
        id: None,
        title: None,
        priority: None,
    }
}

fn answer(id: MessageId, answer: &str) -> AnswerParams {
    AnswerParams { id, answer: answer.to_owned(), contact: None, answer_id: None }
}

/// The question that came to `person`.
async fn question_of(person: &Person) -> Message {
    let [question] = <[_; 1]>::try_from(person.receives(1).await).unwrap();
    question
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_ends_the_wait_and_talk_does_not() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let asking = alice.call::<message::Ask>(asks("Deploy?", &["yes", "no"], "1m"));
    let answering = async {
        let question = question_of(&bob).await;
        assert_eq!(question.body, "Deploy?");
        assert_eq!(question.choices.as_deref(), Some(&["yes".to_owned(), "no".to_owned()][..]));
        // Talk, a reply that is no choice, and what is refused here.
        bob.send("alice", "yes").await;
        let reply_to = Some(question.id);
        let talk = SendParams { reply_to, ..SendParams::new("alice", "which one?") };
        bob.try_send(talk).await.unwrap();
        let maybe = bob.try_call::<message::Answer>(answer(question.id, "maybe")).await;
        assert_eq!(refusal(maybe), "bad_value");
        bob.call::<message::Answer>(answer(question.id, "no")).await
    };
    let (asked, answered): (Asked, SendResult) = tokio::join!(asking, answering);
    let answer = asked.answer.unwrap();
    assert_eq!((answer.body.as_str(), answer.id, asked.exit), ("no", answered.id, 0));
    assert_eq!(answer.reply_to, Some(asked.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_an_answer_ends_and_can_be_taken_up_again() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let id = Some(MessageId([5; 16]));
    let short = AskParams { id, ..asks("Which version?", &[], "10ms") };
    let asked = alice.call::<message::Ask>(short).await;
    assert_eq!((asked.answer, asked.exit), (None, 12));

    let question = question_of(&bob).await;
    assert_eq!(question.choices, Some(Vec::new()));
    // Over a restart of both, and with an answer that is nothing but a reply.
    bob.restart().await;
    alice.restart().await;
    let reply = SendParams { reply_to: Some(question.id), ..SendParams::new("alice", "1.2") };
    bob.try_send(reply).await.unwrap();
    let again = AskParams { id, ..asks("Which version?", &[], "1m") };
    let asked = alice.call::<message::Ask>(again).await;
    assert_eq!((asked.answer.unwrap().body.as_str(), asked.exit), ("1.2", 0));
    assert_eq!(bob.call::<inbox::Readers>(NoParams {}).await.readers[0].unread, 0, "asked once");
    let other = AskParams { id, ..asks("Which version?", &["1", "2"], "1m") };
    assert_eq!(refusal(alice.try_call::<message::Ask>(other).await), "id_conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_about_questions_are_told() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let asker = &alice;
    let refused =
        |params: AskParams| async move { refusal(asker.try_call::<message::Ask>(params).await) };
    let long = "x".repeat(33);
    for choices in [&["a"; 9][..], &[""], &[long.as_str()]] {
        assert_eq!(refused(asks("?", choices, "1m")).await, "bad_value");
    }
    // As long as the longest text, with what may be answered; and one byte more.
    let room = 46 * 1024 - 2 * 5;
    assert_eq!(refused(asks(&"x".repeat(room + 1), &["yes", "not"], "1m")).await, "bad_value");
    let most = asks(&"x".repeat(room), &["yes", "not"], "10ms");
    assert_eq!(alice.call::<message::Ask>(most).await.exit, 12);
    assert_eq!(question_of(&bob).await.body.len(), room);

    let id = alice.delivers("bob", "no question").await;
    let refused =
        |id| async move { refusal(bob.try_call::<message::Answer>(answer(id, "yes")).await) };
    assert_eq!(refused(id).await, "bad_value");
}

/// A question that can no longer arrive has no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_was_given_up_ends_its_wait() {
    use ams_rpc::methods::queue;
    use ams_rpc::types::QueueParams;
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    let id = Some(MessageId([6; 16]));
    let asking = alice.call::<message::Ask>(AskParams { id, ..asks("There?", &[], "1m") });
    let giving_up = async {
        alice
            .until("a question", |client| {
                let params =
                    ams_rpc::types::MessageParams { id: MessageId([6; 16]), contact: None };
                client.call::<message::Show>(&params).ok()
            })
            .await;
        alice.call::<queue::Discard>(QueueParams { all: Some(true), ..Default::default() }).await
    };
    let (asked, _) = tokio::join!(asking, giving_up);
    assert_eq!((asked.state, asked.exit), (State::Discarded, 9));
}
