//! Chat templates: the prompt format that a model file carries.
//!
//! A template is a program by a stranger. It runs in minijinja without access to anything but the
//! messages, and [`TEMPLATE_FUEL`] bounds the instructions it may execute and the bytes it may make.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

/// Longest template read. The longest published ones have about 20 KiB.
pub const TEMPLATE_BYTES_MAX: usize = 128 * 1024;

/// Most messages in a chat. A context of 128 Ki tokens holds no more that say anything.
pub const MESSAGES_MAX: usize = 4_096;

/// What rendering may cost: one unit for an instruction or 64 bytes made. Chats of a thousand
/// messages take some ten thousand.
pub const TEMPLATE_FUEL: u64 = 1_000_000;

const NAME: &str = "chat";

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user` or `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// A message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".into(), content: content.into() }
    }

    /// A message of the assistant.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: "assistant".into(), content: content.into() }
    }

    /// A message that sets the scene.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: "system".into(), content: content.into() }
    }

    fn to_value(&self) -> Value {
        context! { role => self.role.as_str(), content => self.content.as_str() }
    }
}

/// Why a chat did not become a prompt.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The model file has no template; a raw prompt still works.
    #[error("model has no chat template")]
    NoTemplate,
    /// The template is longer than the limit.
    #[error("chat template of {bytes} bytes is above the limit of {TEMPLATE_BYTES_MAX}")]
    TemplateTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The template is not valid.
    #[error("chat template cannot be parsed")]
    Parse(#[source] minijinja::Error),
    /// A chat without a message.
    #[error("chat has no message")]
    Empty,
    /// More messages than the limit.
    #[error("chat of {messages} messages is above the limit of {MESSAGES_MAX}")]
    TooManyMessages {
        /// How many there are.
        messages: usize,
    },
    /// The template spent its fuel.
    #[error("chat template exceeded its budget of {TEMPLATE_FUEL}")]
    OutOfFuel,
    /// The template refused the messages, for instance two of one role in a row.
    #[error("chat template refused the messages")]
    Render(#[source] minijinja::Error),
}

/// A parsed chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

impl ChatTemplate {
    /// Parses a template. `begin` and `end` are the tokens it may name as `bos_token` and `eos_token`.
    ///
    /// # Errors
    ///
    /// [`ChatError::TemplateTooLong`] or [`ChatError::Parse`].
    pub fn parse(source: &str, begin: &str, end: &str) -> Result<Self, ChatError> {
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err(ChatError::TemplateTooLong { bytes: source.len() });
        }
        let mut environment = Environment::new();
        // As the library that templates are written for has it.
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(ChatError::Parse)?);
        environment.set_fuel(Some(TEMPLATE_FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_template_owned(NAME, source.to_owned()).map_err(ChatError::Parse)?;
        Ok(Self { environment, begin: begin.to_owned(), end: end.to_owned() })
    }

    /// The prompt that asks for the assistant's next message.
    ///
    /// # Errors
    ///
    /// [`ChatError`] when there is no message or too many, or the template refuses them.
    pub fn render(&self, messages: &[ChatMessage]) -> Result<String, ChatError> {
        if messages.is_empty() {
            return Err(ChatError::Empty);
        }
        if messages.len() > MESSAGES_MAX {
            return Err(ChatError::TooManyMessages { messages: messages.len() });
        }
        let template = self.environment.get_template(NAME).map_err(ChatError::Parse)?;
        let messages: Vec<Value> = messages.iter().map(ChatMessage::to_value).collect();
        let variables = context! {
            messages, bos_token => self.begin.as_str(), eos_token => self.end.as_str(), add_generation_prompt => true,
        };
        template.render(variables).map_err(|error| match error.kind() {
            ErrorKind::OutOfFuel => ChatError::OutOfFuel,
            _ => ChatError::Render(error),
        })
    }
}

/// Lets a template say why it refuses a chat, as templates written for Python do.
fn raise_exception(message: String) -> Result<String, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn render(source: &str, messages: &[ChatMessage]) -> Result<String, ChatError> {
        ChatTemplate::parse(source, "<s>", "</s>")?.render(messages)
    }

    #[test]
    fn a_chat_becomes_the_models_prompt() {
        let prompt = render(CHATML, &[ChatMessage::system("Be brief."), ChatMessage::user("Hi")]).unwrap();
        assert_eq!(prompt, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    }

    #[test]
    fn methods_of_python_strings_work() {
        let source = "{{ bos_token }}{{ messages[0].content.strip().upper() }}{{ eos_token }}";
        assert_eq!(render(source, &[ChatMessage::user("  hi ")]).unwrap(), "<s>HI</s>");
    }

    #[test]
    fn a_refusing_template_is_a_typed_error() {
        let refused = render("{{ raise_exception('roles must alternate') }}", &[ChatMessage::user("Hi")]);
        let Err(ChatError::Render(source)) = refused else { panic!("{refused:?}") };
        assert!(source.to_string().contains("roles must alternate"));
    }

    #[test]
    fn a_template_cannot_loop_or_grow_beyond_its_fuel() {
        let hi = [ChatMessage::user("Hi")];
        let looping = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(matches!(render(looping, &hi), Err(ChatError::OutOfFuel)));
        let growing = "{% set ns = namespace(s='xxxxxxxx') %}{% for a in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}";
        assert!(matches!(render(growing, &hi), Err(ChatError::OutOfFuel)));
        assert!(render("{{ 'x' * 1000000000 }}", &hi).is_err());
    }

    #[test]
    fn broken_and_oversized_templates_are_refused() {
        assert!(matches!(ChatTemplate::parse("{% for %}", "", ""), Err(ChatError::Parse(_))));
        let long = " ".repeat(TEMPLATE_BYTES_MAX + 1);
        assert!(matches!(ChatTemplate::parse(&long, "", ""), Err(ChatError::TemplateTooLong { .. })));
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(matches!(ChatTemplate::parse(&deep, "", ""), Err(ChatError::Parse(_))));
    }

    #[test]
    fn empty_and_endless_chats_are_refused() {
        assert!(matches!(render(CHATML, &[]), Err(ChatError::Empty)));
        let many = vec![ChatMessage::user("x"); MESSAGES_MAX + 1];
        assert!(matches!(render(CHATML, &many), Err(ChatError::TooManyMessages { .. })));
    }
}
