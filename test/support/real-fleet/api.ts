import type {
  BackupView,
  FailureCommand,
  GateView,
  HostView,
  PlanAnswer,
  PlanRequest,
  Recap,
  ReleaseView,
  RestoreAnswer,
  RestoreRequest,
  RollbackAnswer,
  RollbackRequest,
  RunView,
} from "@belay/controller/api/contract";
import type { Wait } from "@belay/controller/run/wait";
import { BelayError, type ErrorInfo } from "@belay/shared";

/** belayd's API for tests: each call once, no patience hidden in it. */
export class Api {
  readonly address: string;
  readonly #token: string;

  constructor(address: string, token: string) {
    this.address = address;
    this.#token = token;
  }

  plan(request: Omit<PlanRequest, "by">): Promise<PlanAnswer> {
    return this.#call("POST", "/v1/plans", { ...request, by: "tester" });
  }

  start(plan: string, check = false): Promise<RunView> {
    return this.#call("POST", "/v1/runs", { plan, check, by: "tester" });
  }

  run(run: string): Promise<RunView> {
    return this.#call("GET", `/v1/runs/${run}`);
  }

  events(
    run: string,
    after = 0,
  ): Promise<{ events: { seq: number; event: { type: string; [field: string]: unknown } }[] }> {
    return this.#call("GET", `/v1/runs/${run}/events?after=${after}`);
  }

  recap(run: string): Promise<Recap> {
    return this.#call("GET", `/v1/runs/${run}/recap`);
  }

  why(run: string): Promise<{ waits: Wait[] }> {
    return this.#call("GET", `/v1/runs/${run}/why`);
  }

  command(
    run: string,
    verb: "pause" | "resume" | "abort" | "retry" | "skip",
    body: Partial<FailureCommand> = {},
  ): Promise<RunView> {
    return this.#call("POST", `/v1/runs/${run}/${verb}`, { by: "tester", reason: "test", ...body });
  }

  rollback(
    run: string,
    scope: RollbackRequest["scope"],
    more: Pick<RollbackRequest, "planOnly"> = {},
  ): Promise<RollbackAnswer> {
    return this.#call("POST", `/v1/runs/${run}/rollback`, { by: "tester", reason: "test", scope, ...more });
  }

  gates(run: string, all = false): Promise<GateView[]> {
    return this.#call("GET", `/v1/gates?run=${run}${all ? "&all=1" : ""}`);
  }

  /** Open gates of all active runs. */
  openGates(): Promise<GateView[]> {
    return this.#call("GET", "/v1/gates");
  }

  approve(run: string, gate: string, by = "tester"): Promise<GateView> {
    return this.#call("POST", `/v1/gates/${run}/${gate}/approve`, { by, reason: "looks good" });
  }

  reject(run: string, gate: string, by = "tester", reason = "not like this"): Promise<GateView> {
    return this.#call("POST", `/v1/gates/${run}/${gate}/reject`, { by, reason });
  }

  backups(run: string, host: string): Promise<BackupView[]> {
    return this.#call("GET", `/v1/backups?run=${run}&host=${host}`);
  }

  /** Asks the host to read a backup back. */
  verifyBackup(host: string, backup: string): Promise<BackupView> {
    return this.#call("POST", `/v1/backups/${host}/${backup}/verify`);
  }

  /** The same of the copy that left the host. */
  verifyCopy(host: string, backup: string): Promise<BackupView> {
    return this.#call("POST", `/v1/backups/${host}/${backup}/verify?copy=1`);
  }

  restore(host: string, backup: string, more: Partial<RestoreRequest> = {}): Promise<RestoreAnswer> {
    return this.#call("POST", `/v1/backups/${host}/${backup}/restore`, { by: "tester", reason: "test", ...more });
  }

  releases(): Promise<ReleaseView[]> {
    return this.#call("GET", "/v1/releases");
  }

  /** Takes a release off the suspects. */
  clearRelease(version: string): Promise<ReleaseView> {
    return this.#call("POST", `/v1/releases/${version}/clear`, { by: "tester", reason: "looked at it" });
  }

  hosts(): Promise<HostView[]> {
    return this.#call("GET", "/v1/hosts");
  }

  /** For an agent of this machine, in the clear. */
  token(host: string): Promise<{ host: string; token: string }> {
    return this.#call("POST", "/v1/agents/tokens", { host, plaintext: true });
  }

  addRelease(file: string, sha256: string, body: Uint8Array): Promise<unknown> {
    return this.#call("POST", `/v1/releases?file=${file}&sha256=${sha256}`, body);
  }

  /** Throws the BelayError that belayd answered. */
  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const bytes = body instanceof Uint8Array;
    const response = await fetch(`${this.address}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { "content-type": bytes ? "application/octet-stream" : "application/json" }),
      },
      ...(body === undefined ? {} : { body: bytes ? new Blob([new Uint8Array(body)]) : JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const answer = (await response.json()) as T | { error: ErrorInfo };
    if (!response.ok) throw BelayError.from((answer as { error: ErrorInfo }).error);
    return answer as T;
  }
}
