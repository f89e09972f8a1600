import type { HostName } from "@belay/shared";
import type { World } from "./decision.js";
import { awaySince } from "./pace.js";
import type { GateRecord, HostWork, RunState, StageRecord } from "./state.js";
import * as unblock from "./unblock.js";
import type { Wait } from "./wait.js";

/** A wait names this many hosts; its message has the count of all. */
const NAMED_HOSTS = 20;

/** The run waits for steps it has sent. */
export function inFlightWait(state: RunState): Wait {
  const flights = [...take(state.inFlight.values(), NAMED_HOSTS)];
  const [first] = flights;
  const count = state.inFlight.size;
  return {
    code: "steps-in-flight",
    message: `${count} ${count === 1 ? "step is" : "steps are"} in flight: ${flights
      .slice(0, 3)
      .map(({ host, op }) => `${host} ${op}`)
      .join(", ")}${count > 3 ? ", ..." : ""}`,
    since: first?.at ?? state.lastAt,
    unblock: unblock.watch(state.run),
    hosts: flights.map(({ host }) => host),
    ...(first === undefined ? {} : { until: first.deadlineAt }),
  };
}

/** Hosts of the batch that are not connected: nothing is sent to them until they are, or until their time is over. */
export function offlineWait(state: RunState, record: StageRecord, away: readonly HostWork[], world: World): Wait {
  const since = away.map((work) => awaySince(state, work, world.absentSince?.(work.host) ?? null));
  const earliest = since.reduce((a, b) => Math.min(a, b));
  const [first] = away;
  return {
    code: "hosts-offline",
    message: `${countOf(away.length)} not connected: ${names(away)}`,
    since: earliest,
    unblock: unblock.bringBack(first?.host ?? "HOST"),
    hosts: away.slice(0, NAMED_HOSTS).map(({ host }) => host),
    until: earliest + record.stage.stepTimeoutMs,
  };
}

/** Hosts whose last try failed in a way that may pass. */
export function backoffWait(state: RunState, early: readonly HostWork[]): Wait {
  return {
    code: "retry-backoff",
    message: `${countOf(early.length)} waiting to be tried again: ${names(early)}`,
    since: early.reduce((at, work) => Math.min(at, work.since), Number.POSITIVE_INFINITY),
    unblock: unblock.watch(state.run),
    hosts: early.slice(0, NAMED_HOSTS).map(({ host }) => host),
    until: early.reduce((at, work) => Math.min(at, work.notBefore), Number.POSITIVE_INFINITY),
  };
}

/** I12: pausing, with the list of what is in flight, until there is none; then paused. */
export function pauseWaits(state: RunState): Wait[] {
  const asked = state.pause;
  if (asked === null) return [];
  const isPausing = state.inFlight.size > 0;
  const wait: Wait = {
    code: isPausing ? "pausing" : "paused",
    message: isPausing
      ? `pausing for ${asked.by} (${asked.reason}): ${state.inFlight.size} steps in flight may still end`
      : `paused by ${asked.by}: ${asked.reason}`,
    since: asked.at,
    unblock: unblock.resume(state.run),
    ...(isPausing ? { hosts: [...take(state.inFlight.values(), NAMED_HOSTS)].map(({ host }) => host) } : {}),
  };
  return isPausing ? [wait, inFlightWait(state)] : [wait];
}

/** A gate that `hold` keeps open past its time. */
export function overdueOf({ gate, expiresAt }: GateRecord, now: number): boolean {
  return gate.onTimeout === "hold" && now >= expiresAt;
}

function countOf(hosts: number): string {
  return hosts === 1 ? "1 host is" : `${hosts} hosts are`;
}

function names(works: readonly { readonly host: HostName }[]): string {
  const few = works.slice(0, 3).map(({ host }) => host);
  return few.join(", ") + (works.length > few.length ? ", ..." : "");
}

function* take<T>(items: Iterable<T>, count: number): Generator<T> {
  let left = count;
  for (const item of items) {
    if (left-- <= 0) return;
    yield item;
  }
}
