import { BelayError, type ErrorInfo, errorInfo } from "@belay/shared";
import type { CommanderError } from "commander";
import type { Outside } from "./outside.js";
import { safeLine } from "./render/text.js";

/** Says on stderr what went wrong: for people, or with `json` for programs. A stack only with BELAY_DEBUG=1. */
export function reportFailure(thrown: unknown, outside: Pick<Outside, "err" | "env">, json: boolean): void {
  const error = errorInfo(thrown);
  const lines = json ? [JSON.stringify({ error }, null, 2)] : failureLines(error);
  if (outside.env.BELAY_DEBUG === "1" && thrown instanceof Error) lines.push(stackOf(thrown));
  outside.err.write(`${lines.join("\n")}\n`);
}

/** `error[code]: message`, then `hint: ...` where there is one. */
export function failureLines(error: ErrorInfo): string[] {
  return [
    `error[${error.code}]: ${safeLine(error.message)}`,
    ...(error.hint === undefined ? [] : [`hint: ${safeLine(error.hint)}`]),
  ];
}

/** What commander says of a command line it can't read, as an error like all others. */
export function usageError(error: CommanderError, command: string): BelayError {
  const [message = "", ...suggestion] = error.message.replace(/^error: /, "").split("\n");
  const guess = suggestion.join(" ").replace(/^\((.*)\)$/, "$1 ");
  return new BelayError("usage", message, { hint: `${guess}${command} --help shows how.`, cause: error });
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
