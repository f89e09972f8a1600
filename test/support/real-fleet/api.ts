import type {
  AuditPage,
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
  Status,
  UserChange,
  UserView,
} from "@belay/controller/api/contract";
import type { AuditEntry } from "@belay/controller/audit/entry";
import type { Role } from "@belay/controller/people/roles";
import type { Wait } from "@belay/controller/run/wait";
import { BelayError, type ErrorInfo } from "@belay/shared";

/** Who asks for what where a test names nobody: two people, because one may not approve what they started. */
export const OPERATOR = "tester";
export const APPROVER = "approver";
const ROLES: Readonly<Record<string, readonly Role[]>> = { [OPERATOR]: ["operator"], [APPROVER]: ["approver"] };

/**
 * belayd's API for tests: each call once, no patience hidden in it. It is made with the token of belayd's own file, and makes
 * users and tokens as names come up; what people do is done with their own.
 */
export class Api {
  readonly address: string;
  readonly #token: string;
  readonly #people: Map<string, Promise<Api>>;

  constructor(address: string, token: string, people = new Map<string, Promise<Api>>()) {
    this.address = address;
    this.#token = token;
    this.#people = people;
  }

  /** The API as one person: a user of that name, made when it first comes up, with a token of their own. */
  as(
    name: string,
    roles: readonly Role[] = ROLES[name] ?? ["operator", "approver"],
    groups: readonly string[] = [],
  ): Promise<Api> {
    const known = this.#people.get(name);
    if (known !== undefined) return known;
    const admitted = this.#admit(name, roles, groups);
    this.#people.set(name, admitted);
    // A belayd that was not there is asked again the next time.
    admitted.catch(() => this.#people.delete(name));
    return admitted;
  }

  /** What `as` gives them, for programs that take a token. */
  async tokenOf(name: string, roles?: readonly Role[]): Promise<string> {
    return (await this.as(name, roles)).#token;
  }

  async #admit(name: string, roles: readonly Role[], groups: readonly string[]): Promise<Api> {
    await this.#call("POST", "/v1/users", { name, roles, groups });
    return this.anotherTokenOf(name);
  }

  async anotherTokenOf(name: string): Promise<Api> {
    const { token } = await this.#call<{ token: string }>("POST", "/v1/tokens", { name: "tests", user: name });
    return new Api(this.address, token, this.#people);
  }

  changeUser(name: string, change: UserChange): Promise<UserView> {
    return this.#call("POST", `/v1/users/${name}`, change);
  }

  removeUser(name: string): Promise<unknown> {
    return this.#call("DELETE", `/v1/users/${name}`);
  }

  status(): Promise<Status> {
    return this.#call("GET", "/v1/status");
  }

  async plan(request: PlanRequest, by = OPERATOR): Promise<PlanAnswer> {
    return (await this.as(by)).#call("POST", "/v1/plans", request);
  }

  async start(plan: string, check = false, by = OPERATOR): Promise<RunView> {
    return (await this.as(by)).#call("POST", "/v1/runs", { plan, check });
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

  async command(
    run: string,
    verb: "pause" | "resume" | "abort" | "retry" | "skip",
    { by = OPERATOR, ...body }: FailureCommand & { readonly by?: string } = {},
  ): Promise<RunView> {
    return (await this.as(by)).#call("POST", `/v1/runs/${run}/${verb}`, { reason: "test", ...body });
  }

  async rollback(
    run: string,
    scope: RollbackRequest["scope"],
    more: Pick<RollbackRequest, "planOnly" | "safetyBackup"> = {},
  ): Promise<RollbackAnswer> {
    return (await this.as(OPERATOR)).#call("POST", `/v1/runs/${run}/rollback`, { reason: "test", scope, ...more });
  }

  gates(run: string, all = false): Promise<GateView[]> {
    return this.#call("GET", `/v1/gates?run=${run}${all ? "&all=1" : ""}`);
  }

  /** Open gates of all active runs. */
  openGates(): Promise<GateView[]> {
    return this.#call("GET", "/v1/gates");
  }

  async approve(run: string, gate: string, by = APPROVER): Promise<GateView> {
    return (await this.as(by)).#call("POST", `/v1/gates/${run}/${gate}/approve`, { reason: "looks good" });
  }

  /** With this very token, whoever's it is. */
  approveMyself(run: string, gate: string): Promise<GateView> {
    return this.#call("POST", `/v1/gates/${run}/${gate}/approve`, { reason: "looks good" });
  }

  async breakGlass(run: string, gate: string, by: string, reason: string): Promise<GateView> {
    return (await this.as(by)).#call("POST", `/v1/gates/${run}/${gate}/break-glass`, { reason });
  }

  async reject(run: string, gate: string, by = APPROVER, reason = "not like this"): Promise<GateView> {
    return (await this.as(by)).#call("POST", `/v1/gates/${run}/${gate}/reject`, { reason });
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

  async restore(host: string, backup: string, more: RestoreRequest = {}): Promise<RestoreAnswer> {
    const path = `/v1/backups/${host}/${backup}/restore`;
    return (await this.as(OPERATOR)).#call("POST", path, { reason: "test", ...more });
  }

  /** Entries of the audit log that fit, the newest first. */
  async audit(filter: string): Promise<readonly AuditEntry[]> {
    return (await this.#call<AuditPage>("GET", `/v1/audit?limit=1000&${filter}`)).entries;
  }

  releases(): Promise<ReleaseView[]> {
    return this.#call("GET", "/v1/releases");
  }

  /** Takes a release off the suspects. */
  clearRelease(version: string): Promise<ReleaseView> {
    return this.#call("POST", `/v1/releases/${version}/clear`, { reason: "looked at it" });
  }

  hosts(): Promise<HostView[]> {
    return this.#call("GET", "/v1/hosts");
  }

  /** For joining over TLS. */
  joinToken(host: string): Promise<{ host: string; token: string }> {
    return this.#call("POST", "/v1/agents/tokens", { host });
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
