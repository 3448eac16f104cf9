"""Writes expected.json: conversations as transformers renders them.

The templates are the one inside SmolLM2's GGUF file and shortened relatives of those of other
families, written here to use what such templates use: methods of texts, namespaces, filters,
white-space control, refusals.

    python -m venv env && env/bin/pip install transformers gguf jinja2
    env/bin/python make.py SmolLM2-135M-Instruct.Q4_1.gguf
"""

import json
import sys
from pathlib import Path

from gguf import GGUFReader
from transformers.utils.chat_template_utils import render_jinja_template

STRICT = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'].strip() %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set system = '' %}
    {%- set rest = messages %}
{%- endif %}
{%- for message in rest %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if loop.first and system %}
        {{- '[SYS]' + system + '[/SYS]' }}
    {%- endif %}
    {%- if message.role == 'user' %}
        {{- '[INST] ' + message.content | trim + ' [/INST]' }}
    {%- else %}
        {{- ' ' + message.content.split('</think>')[-1].lstrip('\\n') + eos_token }}
    {%- endif %}
{%- endfor %}
"""
LOOSE = """{% set ns = namespace(count=0) %}
{% for message in messages %}
  {% if message['role'] in ['user', 'assistant'] %}
    {% set ns.count = ns.count + 1 %}
<|{{ message['role'] | upper }}|>
{{ message['content'] | replace('a', 'A') }}{% if not loop.last %}

{% endif %}
  {% elif message['content'].startswith('!') %}
note: {{ message.content | tojson }}
  {% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|ASSISTANT {{ ns.count }}|>
{% endif %}
"""
TALKS = [
    [("user", "Hello!")],
    [("system", "Be brief."), ("user", "  Two  spaces \n"), ("assistant", "yes\n"), ("user", "é🙂\"<>&'")],
    [("user", "a"), ("assistant", "<think>x</think>\n\nb"), ("user", "c")],
    [("system", "!note\t\"quoted\""), ("user", "{{ 1 + 1 }} {% if %}")],
    [("user", "a"), ("user", "b")],
]


def main():
    reader = GGUFReader(sys.argv[1])
    own = reader.fields["tokenizer.chat_template"].contents()
    cases = []
    for source in [own, STRICT, LOOSE]:
        for talk in TALKS:
            for answer in [True, False]:
                messages = [{"role": role, "content": content} for role, content in talk]
                try:
                    rendered, _ = render_jinja_template(
                        [messages], chat_template=source, add_generation_prompt=answer,
                        bos_token="<s>", eos_token="</s>",
                    )
                    found = {"text": rendered[0]}
                except Exception as error:
                    found = {"refused": str(error)}
                cases.append({"template": source, "messages": messages, "answer": answer} | found)
    path = Path(__file__).parent / "expected.json"
    path.write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")


main()
