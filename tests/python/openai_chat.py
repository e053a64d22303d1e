"""Chats through `swarm gateway` with the unmodified `openai` package.

    pip install openai
    swarm gateway --listen 127.0.0.1:8080 &
    python tests/python/openai_chat.py http://127.0.0.1:8080/v1 [--model NAME]

Exits 0 when every check holds.
"""

import argparse
import sys

import openai


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url", nargs="?", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", help="default: the first one listed")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--prompt", default="Say hello.")
    parser.add_argument("--max-tokens", type=int, default=16)
    return parser.parse_args()


def check(name, holds, detail=""):
    print(f"{'ok' if holds else 'FAILED'}  {name}  {detail}".rstrip())
    if not holds:
        sys.exit(1)


def streamed(client, order):
    pieces = list(client.chat.completions.create(**order, stream=True, stream_options={"include_usage": True}))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    finish = [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1]
    check("a stream comes in pieces", len(pieces) > 3, f"{len(pieces)} pieces")
    check("it says why it ended", finish in ("stop", "length"), finish)
    check("its last piece tells the usage", pieces[-1].usage.completion_tokens > 0, str(pieces[-1].usage.total_tokens))
    return text


def whole(client, order):
    answer = client.chat.completions.create(**order)
    check("a whole answer has text", bool(answer.choices[0].message.content))
    check("and usage that adds up", answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens)
    return answer.choices[0].message.content


def raises(name, kind, code, call):
    try:
        call()
    except kind as error:
        check(name, error.code == code, f"{error.status_code} {error.code}")
    else:
        check(name, False, f"no {kind.__name__}")


def main():
    arguments = parse_arguments()
    client = openai.OpenAI(base_url=arguments.base_url, api_key=arguments.api_key, max_retries=0, timeout=300)
    models = [model.id for model in client.models.list()]
    check("models are listed", bool(models), ", ".join(models))
    order = {
        "model": arguments.model or models[0],
        "messages": [{"role": "user", "content": [{"type": "text", "text": arguments.prompt}]}],
        "max_completion_tokens": arguments.max_tokens,
        "temperature": 0,
        "seed": 7,
    }
    first = streamed(client, order)
    check("greedy answers repeat, streamed or whole", whole(client, order) == first, repr(first))

    create = client.chat.completions.create
    raises("an unknown model is not found", openai.NotFoundError, "model_not_found", lambda: create(**{**order, "model": "gpt-0"}))
    raises("several choices are refused", openai.BadRequestError, "unsupported_parameter", lambda: create(**order, n=2))
    raises("a wrong temperature is named", openai.BadRequestError, "invalid_value", lambda: create(**{**order, "temperature": 9}))
    raises("images are not there", openai.NotFoundError, "unknown_url", lambda: client.images.generate(prompt="x"))

    with create(**{**order, "max_completion_tokens": 512}, stream=True) as stream:
        next(iter(stream))
    check("a stream can be left", True)
    print(f"openai {openai.__version__}: all checks hold")


if __name__ == "__main__":
    main()
