import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { BelayError } from "@belay/shared";

/** Its exit code, or the signal that ended it. */
type Ending = [code: number | null, signal: NodeJS.Signals | null];

/** What a command said last has long arrived by then; only a process that it left behind still holds its outputs. */
export const GRACE_MS = 1_000;

/** Ends a command, and all it started, when its time is up or its signal says so. */
export function hold(
  child: ChildProcess,
  argv: readonly string[],
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
) {
  // Listened for from the start: the two may come in one and the same moment.
  const close = once(child, "close");
  close.catch(() => {});
  let giveUp = (_why: BelayError) => {};
  const exited = new Promise<Ending>((resolve, reject) => {
    giveUp = reject;
    child.once("exit", (code, signal) => resolve([code, signal]));
    child.once("error", reject);
  });
  const letGo = () => {
    for (const pipe of child.stdio) pipe?.destroy();
  };
  const end = () => {
    const { pid } = child;
    if (pid === undefined) return;
    const refusal = killGroup(pid);
    // What is in a session of its own was not reached, and may hold the pipes for as long as it likes.
    letGo();
    const timer = setTimeout(() => {
      child.unref();
      giveUp(notEnded(argv, pid, refusal));
    }, GRACE_MS);
    exited.catch(() => {}).finally(() => clearTimeout(timer));
  };
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    end();
  }, options.timeoutMs);
  options.signal?.addEventListener("abort", end, { once: true });
  return {
    end,
    /** How it ended, by itself or from here. */
    exited,
    /** The same, when its outputs have come to their end too, or are held by something else that `hasFallenSilent`. */
    async closed(hasFallenSilent: () => boolean = () => true): Promise<Ending> {
      const ending = await exited;
      const look = () => void (hasFallenSilent() && letGo());
      // What a busy agent has not read yet is read first.
      const ticking = setInterval(() => setImmediate(look), GRACE_MS);
      await close.finally(() => clearInterval(ticking));
      return ending;
    },
    /** Throws if it was ended from here. */
    judge() {
      options.signal?.throwIfAborted();
      if (!timedOut) return;
      throw new BelayError("command-timeout", `${argv[0]} took longer than ${options.timeoutMs} ms`, {
        hint: "see what the command waits for, or allow it more time",
        context: { argv },
      });
    },
    release() {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", end);
    },
  };
}

/** Sends SIGKILL to a process group. Gives the system's word for why it wouldn't; null: it is done, or there is none any more. */
function killGroup(pid: number): string | null {
  try {
    process.kill(-pid, "SIGKILL");
    return null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === undefined || code === "ESRCH" ? null : code;
  }
}

function notEnded(argv: readonly string[], pid: number, refusal: string | null): BelayError {
  return new BelayError("command-not-ended", `${argv[0]} (process ${pid}) can't be ended: ${refusal ?? "it stays"}`, {
    hint: "look what it waits for, and end it by hand",
    context: { argv, pid },
  });
}
