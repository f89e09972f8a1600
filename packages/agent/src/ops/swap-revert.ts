import {
  BelayError,
  type Check,
  type ErrorInfo,
  errorInfo,
  failed,
  type HookRun,
  type OpOf,
  type Outcome,
  reverted,
} from "@belay/shared";
import { letGo } from "../backups/held.js";
import { needBackup } from "../backups/manifest.js";
import { restoreBackup } from "../backups/restore.js";
import { present, switchLink } from "../durable.js";
import { disown } from "../entry/adopt.js";
import type { Adoption } from "../entry/record.js";
import { failureOf } from "../facts/disk.js";
import { runHook } from "../hooks/run.js";
import type { Host } from "../host.js";
import { installedVersion } from "../versions/installed.js";
import { versionDir } from "../versions/manifest.js";
import type { Attempt } from "./op.js";
import { patiently } from "./patience.js";
import { isRetryable } from "./retryable.js";
import { settle } from "./settle.js";
import { hooksRun, mayHook } from "./swap-hooks.js";

/** A version that doesn't hold gets no longer to end by itself: nobody is served until the old one is back. */
const BAD_STOP_MS = 10_000;

/**
 * Undoes what this step's own journal says it did (I10), and nothing else: a service that was never touched stays as it
 * is. Not bound by the op's deadline: a host is not left between two versions because time is up. May be called again
 * after a crash at any line. `thrown` null: an earlier life noted the reason.
 */
export async function goBack(op: OpOf<"swap">, host: Host, attempt: Attempt, thrown: unknown): Promise<Outcome> {
  const error = await noteReason(attempt, host, thrown);
  try {
    if (!touched(attempt)) {
      await undrain(op, host, attempt);
      return failed(withHooks(error, attempt), isRetryable(error.code));
    }
    const leftAdopted = await undo(op, host, attempt);
    await releaseSnapshot(op, host, attempt);
    await undrain(op, host, attempt);
    const said = withHooks(error, attempt);
    const told = leftAdopted === null ? said : { ...said, context: { ...said.context, leftAdopted } };
    return reverted(await afterwards(told, op, host, attempt));
  } catch (again) {
    attempt.halt.throwIfAborted();
    const why = await failureOf(again);
    if (why.code === "undrain-failed") return failed({ ...why, context: { ...why.context, swap: error } });
    return failed(
      new BelayError("revert-failed", `${op.service} could not be brought back to ${op.from}: ${why.message}`, {
        hint: "this host needs a person: the old version, or its data, is not back",
        context: { swap: error, revert: why },
      }).toJSON(),
    );
  }
}

/** All is as it was, also where this can't be noted: then a person must say so before the step may be tried again. */
async function releaseSnapshot({ snapshot }: OpOf<"swap">, host: Host, attempt: Attempt): Promise<void> {
  if (snapshot === null) return;
  try {
    await letGo(snapshot);
  } catch (error) {
    host.log.warn({ step: attempt.step, error: errorInfo(error) }, "the snapshot stays held");
  }
}

/** A host that was drained, if only perhaps, gets its work back. One whose service is left stopped has nobody to do it. */
async function undrain(op: OpOf<"swap">, host: Host, attempt: Attempt): Promise<void> {
  if (attempt.passed("drain") === undefined || (touched(attempt) && op.revertTo === "stopped")) return;
  if (op.hookTimeoutMs === undefined || attempt.passed("back-undrained") !== undefined) return;
  const { service, from, to, hookTimeoutMs } = op;
  try {
    const runs = await runHook("undrain", { service, from, to, timeoutMs: hookTimeoutMs }, host, attempt, attempt.halt);
    await note("back-undrained", { runs }, attempt, host);
  } catch (thrown) {
    attempt.halt.throwIfAborted();
    throw new BelayError(
      "undrain-failed",
      `${op.service} runs ${from}, but stays drained: ${errorInfo(thrown).message}`,
      {
        hint: "give this host its work back by hand; its version is the old one, and whole",
        context: { undrain: errorInfo(thrown) },
      },
    );
  }
}

/** With all that this host's hooks said until here; what the one that failed said is the error itself. */
function withHooks(error: ErrorInfo, attempt: Attempt): ErrorInfo {
  const back = (attempt.passed("back-undrained")?.runs as HookRun[] | undefined) ?? [];
  return tellHooks(error, [...hooksRun(attempt), ...hooksIn(error), ...back]);
}

function hooksIn({ context }: ErrorInfo): HookRun[] {
  return (context?.hooks as HookRun[] | undefined) ?? [];
}

function tellHooks(error: ErrorInfo, hooks: readonly HookRun[]): ErrorInfo {
  return hooks.length === 0 ? error : { ...error, context: { ...error.context, hooks } };
}

/** The host is as it was; what its own post-revert hook makes of that is told, and changes nothing about it. */
async function afterwards(error: ErrorInfo, op: OpOf<"swap">, host: Host, attempt: Attempt): Promise<ErrorInfo> {
  const { service, from, to, hookTimeoutMs } = op;
  if (hookTimeoutMs === undefined || !mayHook(op, attempt)) return error;
  try {
    const runs = await runHook(
      "post-revert",
      { service, from, to, timeoutMs: hookTimeoutMs },
      host,
      attempt,
      attempt.halt,
    );
    return tellHooks(error, [...hooksIn(error), ...runs]);
  } catch (thrown) {
    attempt.halt.throwIfAborted();
    const why = errorInfo(thrown);
    host.log.warn({ step: attempt.step, error: why }, "the post-revert hook failed");
    return { ...error, context: { ...error.context, postRevert: why } };
  }
}

/** True once an effect may have begun: each is announced in the journal first. */
function touched(attempt: Attempt): boolean {
  return ["adopting", "stopping", "switching"].some((phase) => attempt.passed(phase) !== undefined);
}

async function noteReason(attempt: Attempt, host: Host, thrown: unknown): Promise<ErrorInfo> {
  const noted = attempt.passed("reverting")?.error;
  if (noted !== undefined) return noted as ErrorInfo;
  const error = await failureOf(thrown);
  host.log.warn({ step: attempt.step, error }, "swap does not hold: going back");
  await note("reverting", { error }, attempt, host);
  return error;
}

/** A full disk must not keep the old version from coming back: what can't be noted is done nevertheless. */
async function note(phase: string, data: Record<string, unknown>, attempt: Attempt, host: Host): Promise<void> {
  try {
    await attempt.pass(phase, data);
  } catch (error) {
    host.log.error({ step: attempt.step, phase, error: errorInfo(error) }, "the way back can't be noted");
  }
}

/**
 * A boot in the middle starts whatever the link leads to. So the link goes back last, after the data: as long as it leads to
 * the new version, that may have run again, and the data are put back again; once it leads to the old one, that may have
 * run, and nothing it wrote is taken away. Answers why names could not be made what they were before an adoption; null: they are.
 */
async function undo(op: OpOf<"swap">, host: Host, attempt: Attempt): Promise<ErrorInfo | null> {
  let leftAdopted = (attempt.passed("back-switched")?.leftAdopted ?? null) as ErrorInfo | null;
  const service = host.allowed.service(op.service);
  // Nothing else would try again, and this host would stay as it is until a person comes.
  const insist = <T>(work: () => Promise<T>) => patiently(work, host.clock, attempt.halt);
  const linked = await installedVersion(op.link, op.versionsDir);
  const ran = attempt.passed("starting") !== undefined || (linked === op.to && linked !== op.from);
  if (attempt.passed("back-switched") === undefined) {
    // Undoing an adoption takes the link away in the end.
    const gone = linked === null && attempt.passed("back-restored") !== undefined;
    const back = ran && op.from !== op.to && (linked === op.from || gone);
    // After a reload, too: processes of both versions may be about, and only a stop is sure to end the new one's.
    if ((ran && !back) || op.revertTo === "stopped") {
      await insist(() => service.stop(ran ? Math.min(op.stopTimeoutMs, BAD_STOP_MS) : op.stopTimeoutMs));
    }
    // Where the new version never ran, the data is the old version's own still, and newer than any snapshot.
    if (op.snapshot !== null && ran && !back) {
      await restoreBackup(await needBackup(op.snapshot.dir, op.snapshot.id), host, attempt.halt);
      await note("back-restored", {}, attempt, host);
    }
    const adoption = attempt.passed("adopting") as unknown as Adoption | undefined;
    // Before the adoption was through, the link may not be there yet, and what it would lead to neither.
    if (adoption === undefined || attempt.passed("adopted") !== undefined || (await present(op.link))) {
      await switchLink(op.link, versionDir(op.versionsDir, op.from));
    }
    if (adoption !== undefined) leftAdopted = await disownOrLeave(adoption, op, host, attempt);
    await note("back-switched", leftAdopted === null ? {} : { leftAdopted }, attempt, host);
  }
  if (op.revertTo === "stopped") return leftAdopted;
  // Found stopped and never started: it stays as it was found.
  if (attempt.passed("begun")?.wasRunning !== true && !ran) return leftAdopted;
  if (attempt.passed("back-started") === undefined) {
    await insist(() => service.start());
    await note("back-started", { restarts: (await insist(() => service.status())).restarts }, attempt, host);
  }
  // Started in an earlier life, and not brought up by the boot since.
  else if ((await insist(() => service.status())).state === "stopped") await insist(() => service.start());
  const { startTimeoutMs, settleMs } = op;
  const checks = op.checks.map((check) => askForOld(check, op));
  const version = { expect: op.from, probes: op.version, versionsDir: op.versionsDir };
  const restarts = Number(attempt.passed("back-started")?.restarts ?? 0);
  await settle({ service, checks, version, restarts, settleMs, startTimeoutMs, signal: attempt.halt }, host);
  return leftAdopted;
}

/** A name that leads to the old version by way of the link is as good as its file: whatever keeps it from being one, the old version runs. */
async function disownOrLeave(
  adoption: Adoption,
  op: OpOf<"swap">,
  host: Host,
  attempt: Attempt,
): Promise<ErrorInfo | null> {
  try {
    await disown(adoption, op.service, host, attempt.halt);
    return null;
  } catch (thrown) {
    attempt.halt.throwIfAborted();
    const why = await failureOf(thrown);
    host.log.error({ step: attempt.step, error: why }, "this host stays adopted: its names can't be files again");
    return why;
  }
}

/** The op's checks are those of the new version: one that asks for it by name asks for the old one on the way back. */
function askForOld(check: Check, { from, to }: OpOf<"swap">): Check {
  if (check.kind !== "http" || check.json?.equals !== to) return check;
  return { ...check, json: { ...check.json, equals: from } };
}
