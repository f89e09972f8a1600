import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { BelayError } from "@belay/shared";

/** How a command ended. Both outputs are cut at `maxOutputBytes`. */
export interface CommandResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  timeoutMs: number;
  signal?: AbortSignal;
  maxOutputBytes?: number;
}

export interface LaunchOptions {
  env: Record<string, string>;
  cwd: string;
  /** Both outputs are appended here. */
  logFile: string;
}

/** The only place that starts processes. Always an argument list, never a shell string. */
export interface Exec {
  /** Runs a command to its end. Throws `command-not-started`, `command-timeout`, or the signal's reason. */
  run(argv: readonly string[], options: CommandOptions): Promise<CommandResult>;
  /** Starts a process that outlives the agent, in a session of its own. Returns its pid; throws `command-not-started`. */
  launch(argv: readonly string[], options: LaunchOptions): Promise<number>;
}

const MAX_OUTPUT_BYTES = 64 * 1024;

export const systemExec: Exec = {
  async run(argv, options) {
    options.signal?.throwIfAborted();
    const [file, ...args] = argv as [string, ...string[]];
    // Its own process group, so that a timeout also ends what the command itself started.
    const child = spawn(file, args, { detached: true, stdio: ["ignore", "pipe", "pipe"], shell: false });
    const end = () => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        // ESRCH: it ended by itself in this very moment, which is all we want.
      }
    };
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      end();
    }, options.timeoutMs);
    options.signal?.addEventListener("abort", end, { once: true });
    const limit = options.maxOutputBytes ?? MAX_OUTPUT_BYTES;
    const stdout = collect(child.stdout, limit);
    const stderr = collect(child.stderr, limit);
    try {
      const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
      options.signal?.throwIfAborted();
      if (timedOut) {
        throw new BelayError("command-timeout", `${file} took longer than ${options.timeoutMs} ms`, {
          hint: "see what the command waits for, or allow it more time",
          context: { argv },
        });
      }
      return { code, signal, stdout: stdout(), stderr: stderr() };
    } catch (error) {
      throw notStarted(file, error);
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", end);
    }
  },

  async launch(argv, options) {
    const [file, ...args] = argv as [string, ...string[]];
    const log = openSync(options.logFile, "a", 0o640);
    try {
      const child = spawn(file, args, {
        detached: true,
        stdio: ["ignore", log, log],
        env: options.env,
        cwd: options.cwd,
        shell: false,
      });
      await once(child, "spawn");
      child.unref();
      return child.pid as number;
    } catch (error) {
      throw notStarted(file, error);
    } finally {
      closeSync(log);
    }
  },
};

/** A process that goes on beside this one. */
export interface Child {
  readonly pid: number;
  /** `exit 0`, `SIGKILL`. */
  readonly ended: Promise<string>;
  kill(signal: NodeJS.Signals): void;
}

/** Starts a program that shares this process's terminal, or journal, and its environment. Throws `command-not-started`. */
export async function startChild(argv: readonly string[]): Promise<Child> {
  const [file, ...args] = argv as [string, ...string[]];
  const child = spawn(file, args, { stdio: "inherit", shell: false });
  const ended = once(child, "exit").then(([code, signal]) => (signal === null ? `exit ${code}` : String(signal)));
  // A program that was never started has its error told below.
  ended.catch(() => {});
  try {
    await once(child, "spawn");
  } catch (error) {
    throw notStarted(file, error);
  }
  return { pid: child.pid as number, ended, kill: (signal) => void child.kill(signal) };
}

function notStarted(file: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (error instanceof BelayError || code === undefined) return error;
  return new BelayError("command-not-started", `${file}: ${(error as Error).message}`, {
    hint: "check that the file exists and may be executed",
    context: { file, errno: code },
    cause: error,
  });
}

/** Keeps the first `limit` bytes and lets the rest flow away, so that a chatty command neither blocks nor fills memory. */
function collect(stream: NodeJS.ReadableStream, limit: number): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    const part = chunk.subarray(0, Math.max(0, limit - size));
    if (part.length > 0) chunks.push(part);
    size += part.length;
  });
  return () => Buffer.concat(chunks).toString("utf8");
}
