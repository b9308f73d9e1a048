// What happens, as it happens. EventSource cannot show a token, so that the stream is read by hand.

import { open } from "./ask.js";
import * as view from "./view.js";

const at = (id) => document.getElementById(id);

/** Rows that are kept. */
const MOST = 200;
/** The pause before a stream that broke is opened again. */
const PAUSE = 2000;
/** How many keys or tags a row shows. */
const SHOWN = 4;

const TROUBLE = ["gap", "inconsistent", "lost", "away"];

/** Messages of Server-Sent Events: the text after each `data:`. */
async function* messages(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length > 0) yield data.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}

export function startEvents() {
  const body = at("event-table").tBodies[0];
  let following = true;
  let stream;
  let timer;
  let keysShown = null;
  const dropped = {};

  function tell(text) {
    const more = Object.entries(dropped).map(([kind, n]) => `${view.exact(n)} ${kind}`);
    const lost = more.length > 0 ? ` Too many to show, and only counted: ${more.join(", ")}.` : "";
    const all = text + lost;
    if (at("event-told").textContent !== all) at("event-told").textContent = all;
  }

  async function follow() {
    clearTimeout(timer);
    stream?.abort();
    if (!following || document.hidden) return;
    stream = new AbortController();
    const { signal } = stream;
    const query = new URLSearchParams({ kind: at("event-kind").value, keyspace: at("event-keyspace").value });
    try {
      const response = await open(`events?${query}`, { signal });
      tell("Following all replicas.");
      for await (const message of messages(response)) take(JSON.parse(message));
      throw new Error("the stream ended");
    } catch (error) {
      if (signal.aborted) return;
      tell(`Not following: ${error.message}.`);
      timer = setTimeout(follow, PAUSE);
    }
  }

  function take(batch) {
    for (const [kind, n] of Object.entries(batch.dropped)) dropped[kind] = (dropped[kind] ?? 0) + n;
    body.querySelector(".empty")?.parentElement.remove();
    body.prepend(...batch.lines.map(row).reverse());
    while (body.rows.length > MOST) body.lastElementChild.remove();
    tell("Following all replicas.");
  }

  function clear() {
    for (const kind of Object.keys(dropped)) delete dropped[kind];
    view.fill(body, [], "Nothing has happened since.");
  }

  at("follow").addEventListener("click", () => {
    following = !following;
    at("follow").setAttribute("aria-pressed", String(following));
    at("follow").textContent = following ? "Following" : "Follow";
    if (!following) tell("Not following.");
    follow();
  });
  at("clear").addEventListener("click", () => {
    clear();
    tell(following ? "Following all replicas." : "Not following.");
  });
  for (const id of ["event-kind", "event-keyspace"]) at(id).addEventListener("change", follow);
  clear();
  follow();

  return {
    /** The keyspaces there are, and whether the viewer may see keys. */
    know(names, authorised) {
      view.choices(at("event-keyspace"), names, [["", "all"]]);
      if (keysShown !== null && keysShown !== authorised) follow();
      keysShown = authorised;
    },
    /** Begins anew: who looks, or whether somebody does, has changed. */
    again: follow,
  };
}

/** How many there are of something, and the first of them where they may be seen. */
function some(shown, total, thing) {
  const many = total > 0 ? `${view.exact(total)} ${thing}${total === 1 ? "" : "s"}` : "";
  const first = shown.slice(0, SHOWN);
  if (first.length === 0) return many;
  return `${total === 1 ? thing : many} ${first.join(" ")}${first.length < total ? " …" : ""}`;
}

function what(line) {
  switch (line.kind) {
    case "moved":
      return `${some(line.tags, line.tag_count, "tag")}, told by ${line.origin}`;
    case "loaded":
      return `${some(line.keys, line.key_count, "key")} in ${view.time(line.took_seconds)} ${line.outcome}`;
    case "lost":
      return `${some([], line.lost, "event")}, since this viewer is slow`;
    default:
      return `${some(line.keys, line.key_count, "key")} ${line.outcome}`.trim();
  }
}

function row(line) {
  const when = new Date(line.at == null ? Date.now() : line.at * 1000);
  const clock = when.toLocaleTimeString("en-GB", { hour12: false });
  const millis = String(when.getMilliseconds()).padStart(3, "0");
  const bad = TROUBLE.includes(line.kind) || ["stopped", "opened", "failed"].includes(line.outcome);
  const kind = bad ? view.badge("bad", line.kind) : line.kind;
  return view.make("tr", { class: bad ? "bad" : "" },
    view.cell(`${clock}.${millis}`, "code"),
    view.cell(line.replica, "whose"),
    view.cell(kind),
    view.cell(line.keyspace || line.source),
    view.cell(what(line), "text"));
}
