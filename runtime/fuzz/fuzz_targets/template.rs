//! Chat templates; behind a byte that no UTF-8 has, what is said in the chat.
#![no_main]

use cocoon_runtime_fuzz::chat::{ChatMessage, ChatTemplate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|byte| *byte == 0xff).map(String::from_utf8_lossy);
    let source = parts.next().unwrap_or_default();
    let Ok(template) = ChatTemplate::parse(&source, "<s>", "</s>") else { return };
    let said: Vec<_> = parts.collect();
    let mut messages = vec![ChatMessage::system("Be brief."), ChatMessage::user("Hello")];
    messages.extend(
        said.iter().enumerate().map(|(at, said)| if at % 2 == 0 { ChatMessage::assistant(&**said) } else { ChatMessage::user(&**said) }),
    );
    let _ = template.render(&messages);
});
