"""Vectors through `swarm gateway` with the unmodified `openai` package.

    pip install openai
    swarm gateway --listen 127.0.0.1:8080 &
    python tests/python/openai_embeddings.py http://127.0.0.1:8080/v1 --model NAME

Exits 0 when every check holds.
"""

import argparse
import math
import sys

import openai


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url", nargs="?", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", default="all-minilm-l6-v2")
    parser.add_argument("--api-key", default="none")
    return parser.parse_args()


def check(name, holds, detail=""):
    print(f"{'ok' if holds else 'FAILED'}  {name}  {detail}".rstrip())
    if not holds:
        sys.exit(1)


def main():
    arguments = parse_arguments()
    client = openai.OpenAI(base_url=arguments.base_url, api_key=arguments.api_key, max_retries=0)
    check("the model is listed", arguments.model in [model.id for model in client.models.list()])

    texts = ["Bees dance.", "The hive is warm.", "Bees dance."]
    # Without a format the package asks for base64 and decodes it.
    packed = client.embeddings.create(model=arguments.model, input=texts)
    plain = client.embeddings.create(model=arguments.model, input=texts, encoding_format="float")
    check("each text has a vector, in order", [one.index for one in packed.data] == [0, 1, 2])
    check("of numbers", all(isinstance(element, float) for one in packed.data for element in one.embedding))
    same = all(
        math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-9)
        for a, b in zip(packed.data, plain.data)
        for x, y in zip(a.embedding, b.embedding, strict=True)
    )
    check("both formats say the same", same)
    check("equal texts have equal vectors", packed.data[0].embedding == packed.data[2].embedding)
    check("others have others", packed.data[0].embedding != packed.data[1].embedding)
    check("tokens are counted", packed.usage.prompt_tokens == packed.usage.total_tokens > 6, str(packed.usage.total_tokens))

    width = len(packed.data[0].embedding)
    one = client.embeddings.create(model=arguments.model, input="Bees dance.", dimensions=width)
    check("one text may stand alone", one.data[0].embedding == packed.data[0].embedding)
    for name, wrong in {"fewer dimensions": {"dimensions": width - 1}, "lists of tokens": {"input": [1, 2, 3]}}.items():
        try:
            client.embeddings.create(**{"model": arguments.model, "input": "Bees dance.", **wrong})
        except openai.BadRequestError as error:
            check(f"{name} are refused", True, str(error.body["code"]))
        else:
            check(f"{name} are refused", False)


if __name__ == "__main__":
    main()
