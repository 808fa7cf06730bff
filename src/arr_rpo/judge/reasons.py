"""Whose fault it is that there is no answer, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping

from arr_rpo.types import Reason

# Another request may fare better, and many of these in a row mean that there is no server.
OF_THE_SERVER = frozenset({Reason.UNREACHABLE, Reason.TIMEOUT, Reason.BUSY, Reason.SERVER_ERROR, Reason.BROKEN_RESPONSE})
# The same request meets with the same: it is not asked again within a run.
OF_THE_REQUEST = frozenset({Reason.CONTENT_FILTER, Reason.REFUSAL, Reason.TOO_LONG, Reason.REJECTED})
# What the model wrote is no answer: another attempt at it may be one.
OF_THE_REPLY = frozenset(
    {
        *(Reason.EMPTY, Reason.CUT_OFF, Reason.ONLY_THOUGHT, Reason.NOT_JSON, Reason.AMBIGUOUS, Reason.OTHER_FORM),
        *(Reason.NO_CHOICE, Reason.OFF_MENU, Reason.OPEN),
    }
)
# Worth asking once more.
MAY_COME = OF_THE_SERVER | OF_THE_REPLY

FIXES: Mapping[Reason, str] = {
    Reason.UNREACHABLE: "start the server, or mend judge.model.base_url",
    Reason.TIMEOUT: "raise judge.model.timeout, or lower judge.model.concurrency",
    Reason.BUSY: "lower judge.model.concurrency, or raise judge.model.retries and max_wait",
    Reason.SERVER_ERROR: "see the server's log: it failed on these requests in spite of judge.model.retries",
    Reason.BROKEN_RESPONSE: "something between here and the server answers in its place: see judge.model.record_dir",
    Reason.CONTENT_FILTER: "leave these prompts out, or use a server without the filter",
    Reason.REFUSAL: "the model will not judge these: leave them out, or use another judge",
    Reason.TOO_LONG: "lower judge.model.image.max_side or the token limits, or serve a longer context",
    Reason.REJECTED: "the server will not take these requests: its message says why",
    Reason.EMPTY: "the server's template or parser leaves nothing: try judge.model.answers=generated, or another template",
    Reason.CUT_OFF: "raise judge.model.max_form_tokens (judge.max_rubric_tokens for rubrics)",
    Reason.ONLY_THOUGHT: "raise judge.model.thinking_tokens, or switch thinking off: "
    "+judge.model.parameters.chat_template_kwargs.enable_thinking=false (a local model: raise judge.model.max_form_tokens)",
    Reason.NOT_JSON: "hold the judge to the form: judge.model.answers=schema (a local model: tokens)",
    Reason.AMBIGUOUS: "hold the judge to the form: judge.model.answers=schema (a local model: tokens)",
    Reason.OTHER_FORM: "hold the judge to the form: judge.model.answers=schema (a local model: tokens), or judge.keys=numbers",
    Reason.NO_CHOICE: "use judge.model.answers=logprobs (a local model: tokens), or a judge that keeps to the choices",
    Reason.OFF_MENU: "the model wants to say something else: use another wording, or answers=generated to see what",
    Reason.OPEN: "have the server give more log-probabilities (vLLM: --max-logprobs 20), or use judge.model.answers=schema",
    Reason.NO_RUBRIC: "see why no rubric was written, in the log; or use a reward that reads none",
    Reason.UNKNOWN_QUESTION: "this judge knows the shapes world alone: ask its questions, or use another judge",
    Reason.NOT_APPLICABLE: "name dimensions that apply to these images (reward.protocol.dimensions)",
}
