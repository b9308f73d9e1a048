// What the console takes for live: `node --test rates.test.mjs`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

const source = await readFile(new URL("../../src/console/page/rates.js", import.meta.url), "utf8");
const rates = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const keyspace = (l1, l2, load) => ({
  keyspace: "products", source: "products", reads: { l1, l2, load, stale: 0 }, misses: { cold: load },
  loads: load, load_errors: load / 2, entries: 5, bytes: 100, capacity_bytes: 1000,
});
const source_ = (rounds, counts) => ({
  source: "products", rounds,
  propagation: counts.map((count, n) => ({ most_seconds: [0.001, 0.01, null][n], count })),
});
const replica = (name, reads, rounds = 0, hints = [0, 0, 0]) => ({
  name, error: null, keyspaces: [keyspace(...reads)], sources: [source_(rounds, hints)],
});
const state = (at, ...replicas) => ({ at, replicas });

/** What is live after these answers. */
const live = (...history) => rates.live(history.at(-1), rates.before(history, rates.WINDOW));

test("a ratio is of what was read between two answers and not since the start", () => {
  const then = state(100, replica("a", [1000, 0, 0]), replica("b", [0, 0, 1000]));
  const now = state(110, replica("a", [1060, 20, 0]), replica("b", [10, 0, 1010]));
  const { keyspaces, replicas, all } = live(then, now);
  const { total, parts, ratio } = rates.shares(keyspaces.get("products").reads);
  assert.deepEqual([total, parts.l1, parts.l2, parts.load, parts.other], [10, 7, 2, 1, 0]);
  assert.equal(ratio("l1"), 0.7);
  assert.equal(rates.shares(replicas.get("b").reads).ratio("l1"), 0.5);
  assert.deepEqual([all.known, all.loads, all.loadErrors, all.misses.cold], [true, 1, 0.5, 1]);
  assert.deepEqual([all.entries, all.bytes, all.capacity], [10, 200, 2000]);
});

test("a replica that began anew counts from nothing, and never backwards", () => {
  const then = state(100, replica("a", [1000, 0, 500]));
  const now = state(110, replica("a", [30, 0, 10]));
  assert.equal(rates.shares(live(then, now).all.reads).total, 4);
});

const away = (name) => ({ name, error: "UNAVAILABLE", keyspaces: [], sources: [] });

test("a replica that is new or away brings no reads that nobody saw", () => {
  const then = state(100, replica("a", [10, 0, 0]), away("b"));
  const now = state(110, replica("a", [20, 0, 0]), replica("b", [5000, 0, 0]));
  assert.equal(rates.shares(live(then, now).all.reads).total, 1);
  assert.equal(live(now).all.known, false);
  assert.equal(rates.shares({}).ratio("l1"), null);
  assert.equal(live(then, state(110, away("a"))).replicas.get("a").known, false);
});

test("a replica that missed an answer keeps its rate", () => {
  const history = [
    state(80, replica("a", [0, 0, 0])), state(90, replica("a", [10, 0, 0])),
    state(100, away("a")), state(105, replica("a", [25, 0, 0])), state(110, replica("a", [30, 0, 0])),
  ];
  assert.equal(rates.shares(live(...history).all.reads).total, 1);
});

test("what is kept reaches back a minute, and has an end", () => {
  let history = [];
  const at = (window) => rates.before(history, window).replicas[0]?.at;
  for (let n = 0; n < 500; n += 1) history = rates.keep(history, state(n, replica("a", [n, 0, 0])));
  assert.deepEqual([history[0].at, history.at(-1).at], [439, 499]);
  assert.deepEqual([at(rates.WINDOW), at(rates.MINUTE)], [489, 439]);
  for (let n = 500; n < 510; n += 0.01) history = rates.keep(history, state(n, replica("a", [n, 0, 0])));
  assert.ok(history.length <= 130);
  history = [state(1, replica("a", [1, 0, 0]))];
  assert.equal(at(rates.WINDOW), undefined);
});

test("propagation is of all replicas, since then or since the start", () => {
  const first = state(100, replica("a", [0, 0, 0], 10, [5, 0, 0]));
  const now = state(110, replica("a", [0, 0, 0], 110, [7, 1, 0]), replica("b", [0, 0, 0], 1, [9, 9, 9]));
  const then = rates.before([first, now], rates.MINUTE);
  const counts = (buckets) => buckets.map((bucket) => bucket.count);
  assert.deepEqual(counts(rates.propagation(now, then)), [2, 1, 0]);
  assert.deepEqual(counts(rates.propagation(now, undefined)), [16, 10, 9]);
  assert.deepEqual(rates.propagation(now, rates.before([now], rates.MINUTE)), []);
  assert.equal(rates.rounds(now, then, "a", "products"), 10);
  assert.equal(rates.rounds(now, then, "b", "products"), null);
});

test("a quantile is the bound of its bucket", () => {
  const buckets = [{ most: 0.001, count: 50 }, { most: 0.01, count: 49 }, { most: null, count: 1 }];
  assert.equal(rates.quantile(buckets, 0.5), 0.001);
  assert.equal(rates.quantile(buckets, 0.99), 0.01);
  assert.equal(rates.quantile(buckets, 1), Infinity);
  assert.equal(rates.quantile([], 0.5), null);
});
