import { BelayError } from "@belay/shared";
import type { CommandOptions, CommandResult, Exec } from "../exec.js";

/** Far above what a full copy of a large backend takes. */
export const TOOL_TIMEOUT_MS = 30 * 60_000;

/** A program that Belay calls and doesn't bring along. */
export interface Tool {
  /** Debian's package for it, for the hint. */
  pkg: string;
  /** Why it is needed, for a person who hasn't got it. */
  why: string;
}

/** Runs such a program to its end, whatever that is. Throws `tool-missing` if this host hasn't got it. */
export async function runTool(
  exec: Exec,
  tool: Tool,
  argv: readonly string[],
  options: Omit<CommandOptions, "timeoutMs"> & { timeoutMs?: number },
): Promise<CommandResult> {
  return exec
    .run(argv, { timeoutMs: TOOL_TIMEOUT_MS, ...options })
    .catch((error: unknown) => Promise.reject(missing(tool, argv, error)));
}

/** The same for one that stands between two streams. */
export async function* filterTool(
  exec: Exec,
  tool: Tool,
  argv: readonly string[],
  input: AsyncIterable<Uint8Array>,
  options: Omit<CommandOptions, "timeoutMs">,
): AsyncGenerator<Buffer> {
  try {
    yield* exec.filter(argv, input, { timeoutMs: TOOL_TIMEOUT_MS, ...options });
  } catch (error) {
    throw missing(tool, argv, error);
  }
}

function missing(tool: Tool, argv: readonly string[], error: unknown): unknown {
  if (!(error instanceof BelayError) || error.code !== "command-not-started") return error;
  return new BelayError("tool-missing", `this host has no ${argv[0]} command`, {
    hint: `install the package \`${tool.pkg}\`: ${tool.why}`,
    context: { program: argv[0], package: tool.pkg },
    cause: error,
  });
}

/** The first `1.2.3` of what a program says about itself. */
export function versionSaid(text: string): string {
  return /\d+(?:\.\d+)+/.exec(text)?.[0] ?? "of unknown version";
}
