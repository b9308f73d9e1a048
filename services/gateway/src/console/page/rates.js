// What is live: differences between answers. Pure functions, without a page.

/** Milliseconds over which rates are taken, and propagation. */
export const WINDOW = 10_000;
export const MINUTE = 60_000;

/** The outcomes of reads that stand for themselves; the others are "other". */
const TIERS = ["l1", "l2", "joined", "load"];

/** Keeps what was answered within the last minute, and the one before it. */
export function keep(history, state) {
  const from = state.at * 1000 - MINUTE;
  const first = history.findLastIndex((old) => old.at * 1000 <= from);
  return [...history.slice(Math.max(first, 0)), state].slice(-130);
}

/**
 * What each replica said before: when it was last asked at least so long ago and answered, else when it
 * first did. Each has its own moment, so that one which missed an answer does not miss in the rates.
 */
export function before(history, window) {
  const [now, old] = [history.at(-1), history.slice(0, -1)];
  const then = now.replicas.map(({ name }) => {
    const told = old.filter((state) => named(state.replicas, name)?.error === null);
    const at = told.findLast((state) => (now.at - state.at) * 1000 >= window) ?? told[0];
    return at && { ...named(at.replicas, name), at: at.at };
  });
  return { replicas: then.filter(Boolean) };
}

/** How a counter has grown. One that went back began anew with its process. */
const grown = (now, then) => (now >= then ? now - then : now);

const named = (list, name) => list?.find((one) => one.name === name);
const keyspaceOf = (replica, name) => replica?.keyspaces.find((one) => one.keyspace === name);
const sourceOf = (replica, name) => replica?.sources.find((one) => one.source === name);

/** How counters by name have grown. */
function counts(now, then = {}) {
  return Object.fromEntries(Object.entries(now).map(([name, n]) => [name, grown(n, then[name] ?? 0)]));
}

function add(sum, more) {
  for (const [name, n] of Object.entries(more)) sum[name] = (sum[name] ?? 0) + n;
}

/** The parts of reads by who answered them; null where there were none. */
export function shares(reads) {
  const total = Object.values(reads).reduce((sum, n) => sum + n, 0);
  const parts = Object.fromEntries(TIERS.map((tier) => [tier, reads[tier] ?? 0]));
  parts.other = total - TIERS.reduce((sum, tier) => sum + parts[tier], 0);
  return { total, parts, ratio: (tier) => (total > 0 ? parts[tier] / total : null) };
}

const empty = () => ({
  known: false, reads: {}, misses: {}, loads: 0, loadErrors: 0, entries: 0, bytes: 0, capacity: 0,
});

/** Adds what was counted, for each second. */
function note(sum, now, then, seconds) {
  const each = (counted) => Object.fromEntries(Object.entries(counted).map(([name, n]) => [name, n / seconds]));
  sum.known = true;
  add(sum.reads, each(counts(now.reads, then.reads)));
  add(sum.misses, each(counts(now.misses, then.misses)));
  sum.loads += grown(now.loads, then.loads) / seconds;
  sum.loadErrors += grown(now.load_errors, then.load_errors) / seconds;
}

/**
 * What goes on, for each second: in all, by keyspace, and by replica. A replica of which nothing is
 * known from before adds what it has, and no reads.
 */
export function live(now, then) {
  const all = empty();
  const keyspaces = new Map();
  const replicas = new Map();
  for (const replica of now.replicas) {
    const old = named(then.replicas, replica.name);
    const of = empty();
    replicas.set(replica.name, of);
    for (const keyspace of replica.keyspaces) {
      const name = keyspace.keyspace;
      if (!keyspaces.has(name)) keyspaces.set(name, empty());
      const sum = keyspaces.get(name);
      for (const to of [sum, all]) {
        to.entries += keyspace.entries;
        to.bytes += keyspace.bytes;
        to.capacity += keyspace.capacity_bytes;
      }
      const known = keyspaceOf(old, name);
      if (known) for (const to of [sum, all, of]) note(to, keyspace, known, now.at - old.at);
    }
  }
  return { all, keyspaces, replicas };
}

/** How many rounds a replica takes of a source each second; null where it is not known. */
export function rounds(now, then, name, source) {
  const [at, old] = [named(now.replicas, name), named(then.replicas, name)];
  const [new_, known] = [sourceOf(at, source), sourceOf(old, source)];
  return new_ && known ? grown(new_.rounds, known.rounds) / (now.at - old.at) : null;
}

/** The histogram of all replicas, since `then` or since they started. */
export function propagation(now, then) {
  const sum = [];
  for (const replica of now.replicas) {
    for (const source of replica.sources) {
      const old = sourceOf(named(then?.replicas, replica.name), source.source);
      if (then && !old) continue;
      source.propagation.forEach((bucket, n) => {
        sum[n] ??= { most: bucket.most_seconds, count: 0 };
        sum[n].count += grown(bucket.count, old?.propagation[n]?.count ?? 0);
      });
    }
  }
  return sum;
}

/** The bound of the bucket that the quantile falls into; null without times, Infinity for the last. */
export function quantile(buckets, share) {
  const total = buckets.reduce((sum, bucket) => sum + bucket.count, 0);
  if (total === 0) return null;
  let seen = 0;
  for (const bucket of buckets) {
    seen += bucket.count;
    if (seen >= share * total) return bucket.most ?? Infinity;
  }
  return Infinity;
}
