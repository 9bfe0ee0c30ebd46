"""Output on the site: which lines wrap, and that intervals stay in one piece."""

from __future__ import annotations

from types import ModuleType

SENTENCE = "  Limit: activation ratio 0.2200, 90% interval 0.2191 to 0.2222 (sparsity 0.7800)."
ROW = "         10M (1.58x)     0.4763  0.4619 to 0.4920  0.4619 to 0.4921  0.5237"
COMMAND = "$ sparsefit forecast points.csv --at 10M --target-activation 0.23 --out forecast.png"


def test_sentences_wrap_and_rows_do_not(layout: ModuleType) -> None:
    assert layout.is_prose(SENTENCE)
    assert layout.is_prose(f"last_value         {SENTENCE.strip()}")
    assert not layout.is_prose(ROW)
    assert not layout.is_prose("Identified: yes.")


def test_lexers_mark_sentences_and_keep_every_character(layout: ModuleType) -> None:
    shown = f"{COMMAND}\n{SENTENCE}\n{ROW}\n\n  note: short\n"
    session = list(layout.SessionLexer().get_tokens(shown))
    assert "".join(value for _, value in session) == shown
    assert [value for token, value in session if token is layout.PROSE] == [f"{SENTENCE}\n"]
    output = list(layout.OutputLexer(stripnl=False).get_tokens(f"\n{SENTENCE}\n{ROW}\n"))
    assert "".join(value for _, value in output) == f"\n{SENTENCE}\n{ROW}\n"
    assert [value for token, value in output if token is layout.PROSE] == [f"{SENTENCE}\n"]


def test_the_columns_of_a_commands_help_stay(layout: ModuleType) -> None:
    usage = f"usage: sparsefit fit [-h] FILE\n\n  --json                {SENTENCE.strip()}\n"
    assert layout.PROSE not in [token for token, _ in layout.OutputLexer().get_tokens(usage)]


def test_a_command_may_go_on_in_further_lines(layout: ModuleType) -> None:
    session = list(
        layout.SessionLexer().get_tokens(f"$ sparsefit \\\n    forecast a.csv\n{SENTENCE}\n")
    )
    assert [value for token, value in session if token is layout.PROSE] == [f"{SENTENCE}\n"]


def test_no_line_breaks_inside_of_an_interval(layout: ModuleType) -> None:
    from docutils import nodes

    entry, text = nodes.entry(), nodes.paragraph(text="see [.82, .99]")
    entry += nodes.paragraph(text=".92 [.82, .99], better [1, 2]")
    document = nodes.document(None, None)
    document += [entry, text]
    layout.keep_intervals_together(None, document)
    assert entry.astext() == ".92 [.82,\N{NO-BREAK SPACE}.99], better [1,\N{NO-BREAK SPACE}2]"
    assert text.astext() == "see [.82, .99]"
