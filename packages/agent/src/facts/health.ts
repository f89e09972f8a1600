import { connect } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { type Check, errorInfo } from "@belay/shared";
import type { Host } from "../host.js";
import { whatWasSaid } from "../said.js";
import { samplesOf } from "./metrics.js";
import { valueAt } from "./pointer.js";

/**
 * What is not healthy, in words; empty: all checks hold. `pid` is the service's main process, null if it doesn't run.
 * Rejects only with the signal's reason, and for a command that this host refuses.
 */
export async function ailmentsOf(
  checks: readonly Check[],
  pid: number | null,
  host: Pick<Host, "http" | "exec" | "allowed">,
  signal?: AbortSignal,
): Promise<string[]> {
  for (const check of checks) if (check.kind === "command") host.allowed.command(check.command);
  const found = await Promise.all(
    checks.map(async (check) => {
      try {
        return await ailment(check, pid, host, signal);
      } catch (error) {
        signal?.throwIfAborted();
        return errorInfo(error).message.slice(0, 1024);
      }
    }),
  );
  return found.filter((each) => each !== null);
}

async function ailment(
  check: Check,
  pid: number | null,
  host: Pick<Host, "http" | "exec" | "allowed">,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const abortable = signal === undefined ? {} : { signal };
  switch (check.kind) {
    case "process":
      return pid === null ? "the process does not run" : null;
    case "http": {
      const { status, text } = await host.http.text(check.url, { timeoutMs: check.timeoutMs, ...abortable });
      if (status !== check.status) return `${check.url} answers ${status}, not ${check.status}`;
      if (check.json === undefined) return null;
      if (isDeepStrictEqual(valueAt(parsed(text), check.json.pointer), check.json.equals)) return null;
      // Not what it says instead: whoever chose the pointer could have any answer of any service read out to them.
      return `${check.url} doesn't say ${JSON.stringify(check.json.equals)?.slice(0, 200)} at ${check.json.pointer}`;
    }
    case "metric": {
      const { status, text } = await host.http.text(check.url, { timeoutMs: check.timeoutMs, ...abortable });
      if (status !== 200) return `${check.url} answers ${status}`;
      const samples = samplesOf(text, check.metric);
      if (samples.length === 0) return `${check.url} has no metric ${check.metric}`;
      const other = samples.find((sample) => sample.value !== check.equals);
      return other === undefined ? null : `${check.metric} is not ${check.equals}`;
    }
    case "tcp":
      return tcpAilment(check, signal);
    case "command": {
      const argv = host.allowed.command(check.command);
      const result = await host.exec.run(argv, { timeoutMs: check.timeoutMs, keep: "last", ...abortable });
      if (result.code === 0) return null;
      return `command ${check.command} ends with ${result.code ?? result.signal}: ${whatWasSaid(result.stderr, 500)}`;
    }
  }
}

function tcpAilment(check: Extract<Check, { kind: "tcp" }>, signal: AbortSignal | undefined): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: check.host, port: check.port, timeout: check.timeoutMs });
    const finish = (ailment: string | null) => {
      signal?.removeEventListener("abort", aborted);
      socket.destroy();
      resolve(ailment);
    };
    const aborted = () => finish("stopped looking");
    const where = `${check.host}:${check.port}`;
    signal?.addEventListener("abort", aborted, { once: true });
    socket.once("connect", () => finish(null));
    socket.once("timeout", () => finish(`${where} does not accept connections within ${check.timeoutMs} ms`));
    socket.once("error", (error) => finish(`${where}: ${error.message}`));
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
