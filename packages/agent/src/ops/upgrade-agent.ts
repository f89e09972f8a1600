import { dirname, join } from "node:path";
import { type AgentUpgradeResult, BelayError, done, errorInfo, type OpOf, type Outcome, reverted } from "@belay/shared";
import { AGENT_VERSION } from "../about.js";
import { clearWayBack, layWayBack, present, switchLink } from "../durable.js";
import { failureOf, needRoom } from "../facts/disk.js";
import type { Host } from "../host.js";
import type { Self } from "../self/self.js";
import { unsupervised } from "../self/self-service.js";
import { installedVersion, previousOf } from "../versions/installed.js";
import { verifyVersion, versionDir } from "../versions/manifest.js";
import { drift } from "./drift.js";
import type { Attempt, Perform } from "./op.js";

type Upgrade = OpOf<"upgrade-agent">;

const PROGRAM = "belay-agent";
const TRY_TIMEOUT_MS = 20_000;
const POLL_MS = 100;
/** Between tries to write down on a full disk that this version holds. */
const NOTE_AGAIN_MS = 500;
/** A few small files and links; as much again for what else the journal and its host write meanwhile. */
const NET_NEEDS = { bytes: 64 * 1024, inodes: 8 };

/**
 * The agent's own upgrade. Three lives take part: the old version goes as far as it can and ends; the new one, if it proves
 * itself, says that it is done (I8); the old one, if it had to come back, says that it is reverted. Which life this is, the
 * program itself knows, and how far the step came is in the journal, which all of them share (I7, I14).
 *
 *     begun -> arming -> switching -> [the process ends] -> held -> done
 *                            \______ the watcher takes it back _______ reverted
 */
export const upgradeAgent: Perform<"upgrade-agent"> = async (op, host, attempt) => {
  await host.allowed.path(op.versionsDir);
  await host.allowed.link(op.link);
  const self = mustBeSupervised(host);
  if (attempt.passed("switching") === undefined) return setOut(op, self, host, attempt);
  if (AGENT_VERSION === op.to) return prove(op, self, host, attempt);
  return comeBack(op, self, host, attempt);
};

function mustBeSupervised({ self }: Host): Self {
  if (self !== null) return self;
  throw unsupervised();
}

/** The old version, up to its end. What it throws before `switching` leaves all as it was. */
async function setOut(op: Upgrade, self: Self, host: Host, attempt: Attempt): Promise<Outcome> {
  const installed = await installedVersion(op.link, op.versionsDir);
  const isThere = installed === op.to && AGENT_VERSION === op.to;
  if (isThere || installed !== op.from || AGENT_VERSION !== op.from) {
    // A package may have come while a life before this one was at it.
    if (!attempt.check) await putNetAway(op, self, host, attempt);
    if (isThere) return done(false, resultOf(op));
    throw drift(op.from, AGENT_VERSION === op.from ? installed : AGENT_VERSION);
  }
  const target = versionDir(op.versionsDir, op.to);
  if (attempt.check) return done(true, { would: `point ${op.link} at ${op.to} and start the agent anew` });
  try {
    await verifyVersion(target, op.sha256, attempt.signal);
    await mustBeUsable(join(target, PROGRAM), op, self, host, attempt.signal);
    if (attempt.passed("arming") === undefined) await needRoomForNet(op, host);
    await attempt.pass("begun");
    await spreadNet(op, self, attempt);
    await attempt.pass("switching");
  } catch (error) {
    // Also what a life before this one has spread: nobody may be taken back from a step that is over.
    await self.files.settle();
    await clearWayBack(op.link);
    throw error;
  }
  return leave(op, self, attempt);
}

/** A program that says another version, or can't read this host's file, would only be a detour. */
async function mustBeUsable(program: string, op: Upgrade, self: Self, host: Host, signal: AbortSignal): Promise<void> {
  const asked = await host.exec.run([program, "--version"], { timeoutMs: TRY_TIMEOUT_MS, signal });
  if (asked.code !== 0 || asked.stdout.trim() !== op.to) {
    const said = (asked.stdout.trim() || asked.stderr.trim() || `exit ${asked.code}`).slice(0, 256);
    throw unusable(`${program} --version says ${JSON.stringify(said)}, not ${op.to}`);
  }
  const argv = [program, "check-config", "--config", self.configFile];
  const checked = await host.exec.run(argv, { timeoutMs: TRY_TIMEOUT_MS, signal });
  if (checked.code !== 0)
    throw unusable(`${op.to} can't read ${self.configFile}: ${checked.stderr.trim().slice(0, 512)}`);
}

function unusable(message: string): BelayError {
  return new BelayError("agent-unusable", message, {
    hint: "nothing was touched: correct the file, or use another version",
  });
}

/** The links, and what the two versions and the watcher tell each other. Throws `disk-full`. */
async function needRoomForNet(op: Upgrade, host: Host): Promise<void> {
  const what = "the agent's upgrade, with its way back,";
  for (const path of [dirname(op.link), host.stateDir]) await needRoom(path, { ...NET_NEEDS, what });
}

async function spreadNet(op: Upgrade, self: Self, attempt: Attempt): Promise<void> {
  const { versionsDir, link, from, to, returnMs } = op;
  await attempt.pass("arming");
  await keepOld(op);
  await layWayBack(link, versionDir(versionsDir, from));
  await self.files.announce({ step: attempt.step, from, to, link, versionsDir, returnMs });
  await self.arm(attempt.step);
}

/** Whoever goes back needs the old program, whatever becomes of `current`. */
async function keepOld({ versionsDir, link, from }: Upgrade): Promise<void> {
  await switchLink(previousOf(link), versionDir(versionsDir, from));
}

/** Switches and ends this process: the step stays open for the next. */
async function leave(op: Upgrade, self: Self, attempt: Attempt): Promise<never> {
  await switchLink(op.link, versionDir(op.versionsDir, op.to));
  attempt.progress(`starting ${op.to}`);
  self.leave();
  await new Promise((resolve) => attempt.halt.addEventListener("abort", resolve, { once: true }));
  attempt.halt.throwIfAborted();
  throw new BelayError("internal", "halted, and not");
}

/** The new version. Not bound by the op's deadline: the watcher's time is what it has. */
async function prove(op: Upgrade, self: Self, host: Host, attempt: Attempt): Promise<Outcome> {
  if (attempt.passed("held") === undefined) {
    await keepNet(self, host, attempt);
    await serveFor(op, self, host, attempt);
    await noteHeld(host, attempt);
  }
  await putNetAway(op, self, host, attempt);
  return done(true, resultOf(op));
}

/** The watcher may have gone since, with the whole machine. It is not needed by a version that holds. */
async function keepNet(self: Self, host: Host, attempt: Attempt): Promise<void> {
  try {
    if ((await self.files.pending()) !== null) await self.arm(attempt.step);
  } catch (error) {
    host.log.error({ step: attempt.step, error: errorInfo(error) }, "nobody watches this upgrade any more");
  }
}

/** Welcomed, and not let go of since for the settle time (I8). */
async function serveFor(op: Upgrade, self: Self, host: Host, attempt: Attempt): Promise<void> {
  let told: string | null = null;
  for (;;) {
    const servedMs = self.servedMs();
    if (servedMs !== null && servedMs >= op.settleMs) return;
    const trouble = servedMs === null ? self.lastTrouble() : null;
    // For whoever comes back to tell; once, because it is tried again every few seconds.
    if (trouble !== null && told === null) await tellTrouble(trouble, host, attempt);
    told ??= trouble;
    await host.clock.sleep(POLL_MS, attempt.halt);
  }
}

/** It decides nothing, so a full disk is no reason to end. */
async function tellTrouble(why: string, host: Host, attempt: Attempt): Promise<void> {
  try {
    await attempt.pass("trouble", { why: why.slice(0, 512) });
  } catch (thrown) {
    host.log.error({ step: attempt.step, why, error: await failureOf(thrown) }, "a trouble can't be written down");
  }
}

/**
 * What can't be written down is not true yet, and no failure either: to end here would leave a step that is over with a watcher that
 * takes its version back. Tried until there is room, or the watcher's time is over.
 */
async function noteHeld(host: Host, attempt: Attempt): Promise<void> {
  for (;;) {
    try {
      return await attempt.pass("held");
    } catch (thrown) {
      const error = await failureOf(thrown);
      host.log.error({ step: attempt.step, error }, "this version holds, but that can't be written down yet");
      attempt.progress(`it holds, but that can't be written down yet: ${error.message}`.slice(0, 512));
      await host.clock.sleep(NOTE_AGAIN_MS, attempt.halt);
    }
  }
}

/**
 * Before any end of the step in a version that was not to come back: nobody may be taken back from a step that is over (I8). Does not
 * return where the watcher was first. Where it has been and gone, or the old version is gone with its package, nobody will be.
 */
async function putNetAway(op: Upgrade, self: Self, host: Host, attempt: Attempt): Promise<void> {
  await self.files.settle();
  const isComing = (await self.files.returning()) !== null && (await present(versionDir(op.versionsDir, op.from)));
  if (isComing) await beTakenBack(host, attempt);
  await self.files.forgetReturn();
  await clearWayBack(op.link);
}

/** The watcher was first: what is left is to be ended by it. */
async function beTakenBack(host: Host, attempt: Attempt): Promise<never> {
  host.log.warn({ step: attempt.step }, "this version is taken back");
  for (;;) await host.clock.sleep(POLL_MS, attempt.halt);
}

/** The old version, again. */
async function comeBack(op: Upgrade, self: Self, host: Host, attempt: Attempt): Promise<Outcome> {
  if (AGENT_VERSION !== op.from) {
    await putNetAway(op, self, host, attempt);
    throw drift(op.from, AGENT_VERSION);
  }
  const installed = await installedVersion(op.link, op.versionsDir);
  const pending = await self.files.pending();
  if (pending?.step === attempt.step) return goOn(op, self, host, attempt);
  // The watcher may be a moment behind: it was this very step that moved the link, so it may put it back (I10).
  if ((await self.files.takenBack()) !== null) await switchLink(op.link, versionDir(op.versionsDir, op.from));
  else if (installed !== op.from) throw drift(op.from, installed);
  await clearWayBack(op.link);
  await self.files.forgetReturn();
  host.log.warn({ step: attempt.step }, "back again");
  return reverted(notBack(op, attempt).toJSON());
}

/** An earlier life ended at the link, or somebody started this one past it. What it had ready may be gone with a package since. */
async function goOn(op: Upgrade, self: Self, host: Host, attempt: Attempt): Promise<never> {
  try {
    await verifyVersion(versionDir(op.versionsDir, op.to), op.sha256);
    await keepOld(op);
    await self.arm(attempt.step);
  } catch (error) {
    await switchLink(op.link, versionDir(op.versionsDir, op.from));
    await putNetAway(op, self, host, attempt);
    throw error;
  }
  return leave(op, self, attempt);
}

function notBack(op: Upgrade, attempt: Attempt): BelayError {
  const trouble = attempt.passed("trouble")?.why;
  const why = typeof trouble === "string" ? `: ${trouble}` : "";
  return new BelayError("agent-not-back", `agent ${op.to} did not hold within ${op.returnMs / 1000} s${why}`, {
    hint: `${op.from} is back. See what ${op.to} wrote into the agent's log on this host`,
    context: { from: op.from, to: op.to },
  });
}

function resultOf({ from, to }: Upgrade): AgentUpgradeResult {
  return { from, to, running: AGENT_VERSION };
}
