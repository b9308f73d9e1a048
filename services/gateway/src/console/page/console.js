// The console: asks for the numbers once a second while somebody looks, and shows them.

import { ask, token } from "./ask.js";
import { startEvents } from "./events.js";
import { startInspector } from "./inspect.js";
import { MINUTE, WINDOW, before, keep, live, propagation, quantile, rounds, shares } from "./rates.js";
import * as view from "./view.js";

const { cell, heading, number } = view;
const at = (id) => document.getElementById(id);
const body = (id) => at(id).tBodies[0];

const EVERY = 1000;
/** A proof older than this part of Δ deserves a look. */
const LATE = 0.5;

let history = [];
let paused = false;
let timer;
let told = "";
/** All keyspaces that were ever told of: a choice must not go while its replicas do not answer. */
const known = new Set();

const inspector = startInspector();
const events = startEvents();

/** The status is read aloud: it says the same until something else is true. */
function say(text, state) {
  if (text === told) return;
  told = text;
  at("status").textContent = text;
  at("status").className = state;
}

async function poll() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  try {
    const state = await ask("state");
    const last = history.at(-1);
    // The gateway's clock was set back: what was before cannot be compared.
    if (last && state.at < last.at) history = [];
    if (!last || state.at > last.at) history = keep(history, state);
    show(history.at(-1));
  } catch (error) {
    say(error.refused ? `Refused: ${error.message}` : `The gateway does not answer: ${error.message}`, "bad");
    document.body.classList.add("old");
  }
  clearTimeout(timer);
  timer = setTimeout(poll, EVERY);
}

function show(state) {
  document.body.classList.remove("old");
  const then = before(history, WINDOW);
  const now = live(state, then);
  const silent = state.replicas.filter((replica) => replica.error).length;
  const answering = state.replicas.length - silent;
  const who = state.authorised ? "" : " Keys are hidden.";
  const some = `${answering} of ${state.replicas.length} replicas answer.${who}`;
  say(silent > 0 ? `Live, but only ${some}` : `Live: ${some}`, silent > 0 ? "bad" : "good");
  const names = [...now.keyspaces.keys()].sort();
  for (const name of names) known.add(name);
  inspector.know([...known].sort(), state.authorised);
  events.know([...known].sort(), state.authorised);
  summary(state, now, answering);
  keyspaces(now, names);
  replicas(state, then, now);
  spread(state);
  hot(state.hot);
}

/** A rate, where one is known. */
const rate = (of, n) => (of.known ? view.count(n) : null);

function summary(state, now, answering) {
  const reads = shares(now.all.reads);
  const proofs = state.replicas.flatMap((replica) => replica.sources);
  const ages = proofs.map((source) => source.proven_age_seconds);
  const unproven = ages.filter((age) => age == null).length;
  const oldest = ages.length > 0 ? Math.max(...ages.map((age) => age ?? 0)) : null;
  const silent = state.replicas.length - answering;
  at("summary").replaceChildren(
    view.tile("Reads each second", rate(now.all, reads.total)),
    view.tile("From memory (L1)", view.percent(reads.ratio("l1"))),
    view.tile("From the remote tier (L2)", view.percent(reads.ratio("l2"))),
    view.tile("Loads each second", rate(now.all, now.all.loads),
      now.all.loadErrors > 0 ? `${view.count(now.all.loadErrors)} fail` : ""),
    view.tile("Oldest proof", view.time(oldest), unproven > 0 ? `${unproven} without any` : ""),
    view.tile("Replicas", `${answering} of ${state.replicas.length}`,
      silent > 0 ? `✕ ${silent} not answering` : "✓ all answer", silent > 0 ? "bad" : ""),
  );
}

function keyspaces(now, names) {
  const rows = names.map((name) => {
    const of = now.keyspaces.get(name);
    const reads = shares(of.reads);
    const misses = Object.entries(of.misses).filter(([, n]) => n > 0);
    misses.sort(([, one], [, other]) => other - one);
    return view.make("tr", {},
      heading(name),
      number(rate(of, reads.total)),
      number(view.percent(reads.ratio("l1"))),
      number(view.percent(reads.ratio("l2"))),
      cell(view.stack(reads), "wide"),
      number(rate(of, of.loads)),
      number(view.exact(of.entries)),
      number(`${view.mebibytes(of.bytes)} of ${view.mebibytes(of.capacity)}`),
      cell(misses.slice(0, 2).map(([why]) => why.replaceAll("_", " ")).join(", ")),
    );
  });
  view.fill(body("keyspace-table"), rows, "No replica answers.");
}

function replicas(state, then, now) {
  const rows = state.replicas.flatMap((replica) => {
    if (replica.error) {
      const why = view.make("td", { colspan: 8 }, view.badge("bad", "does not answer"), ` ${replica.error}`);
      return [view.make("tr", { class: "bad" }, heading(replica.name), cell(""), why)];
    }
    const of = now.replicas.get(replica.name);
    const reads = shares(of.reads);
    return replica.sources.map((source, n) => {
      const bounds = replica.keyspaces.filter((one) => one.source === source.source);
      const bound = Math.min(...bounds.map((one) => one.max_staleness_seconds ?? Infinity));
      const age = source.proven_age_seconds;
      const share = age == null ? 1 : age / bound;
      const [sign, word] = age == null ? ["bad", "unproven"]
        : share > 1 ? ["bad", "past Δ"] : share > LATE ? ["warn", "late"] : ["good", "proven"];
      const first = n === 0;
      return view.make("tr", { class: sign === "good" ? "" : sign },
        heading(replica.name),
        cell(source.source),
        number(view.time(age)),
        cell(view.badge(sign, word)),
        cell(Number.isFinite(bound) ? view.bar(share, sign) : "", "wide"),
        number(view.count(rounds(state, then, replica.name, source.source))),
        number(view.exact(source.round_errors)),
        number(view.exact(source.gaps)),
        number(first ? rate(of, reads.total) : ""),
        number(first ? view.percent(reads.ratio("l1")) : ""),
      );
    });
  });
  view.fill(body("replica-table"), rows, "There are no replicas.");
}

function spread(state) {
  const then = at("span").value === "minute" ? before(history, MINUTE) : undefined;
  const buckets = propagation(state, then);
  const total = buckets.reduce((sum, bucket) => sum + bucket.count, 0);
  const [half, most] = [quantile(buckets, 0.5), quantile(buckets, 0.99)];
  const within = (bound) => (bound === Infinity ? "not even within the last bound" : `within ${view.time(bound)}`);
  at("propagation-told").textContent = total === 0
    ? "No hints arrived."
    : `Hints: ${view.exact(total)}, half of them ${within(half)}, 99 of 100 ${within(most)}.`;
  const rows = buckets.map((bucket) => view.make("tr", {},
    heading(bucket.most == null ? "longer" : view.time(bucket.most)),
    number(view.exact(bucket.count)),
    cell(view.bar(total > 0 ? bucket.count / total : 0, "l1"), "wide"),
  ));
  view.fill(body("propagation-table"), rows, "Nothing is known yet.");
}

function hot(keys) {
  const hidden = "Hidden: show the admin token to see keys.";
  const rows = (keys ?? []).map((of) => {
    const choose = { type: "button", class: "key", "data-keyspace": of.keyspace, "data-key": of.key };
    return view.make("tr", {},
      cell(of.keyspace),
      view.make("th", { scope: "row" }, view.make("button", choose, of.key)),
      number(view.exact(of.reads)));
  });
  view.fill(body("hot-table"), rows, keys ? "Nothing is read much." : hidden);
}

at("hot-table").addEventListener("click", (event) => {
  const chosen = event.target.closest("button.key");
  if (chosen) inspector.look(chosen.dataset.keyspace, chosen.dataset.key);
});

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  if (paused) say("Paused. The numbers are those of then.", "warn");
  history = paused ? history : [];
  poll();
});

at("span").addEventListener("change", () => {
  if (history.length > 0) spread(history.at(-1));
});

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(at("token").value.trim());
  at("token").value = "";
  again();
});

at("forget").addEventListener("click", () => {
  token.set("");
  again();
});

function again() {
  poll();
  events.again();
}

document.addEventListener("visibilitychange", () => {
  // What happened meanwhile is not of the last seconds.
  if (!document.hidden) history = [];
  poll();
  events.again();
});

poll();
