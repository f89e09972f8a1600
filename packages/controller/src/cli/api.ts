import type {
  ApproveCommand,
  AuditPage,
  AuthorityView,
  BackupView,
  Command,
  DeviceAnswer,
  DeviceLogin,
  FailureCommand,
  FleetView,
  GateView,
  HostView,
  IdentityView,
  JoinTokenMade,
  JoinTokenRequest,
  JoinTokenView,
  LogLine,
  NewUser,
  PhaseCommand,
  PlanAnswer,
  PlanRequest,
  PlanSummary,
  Recap,
  ReleaseView,
  RestoreAnswer,
  RestoreRequest,
  RollbackAnswer,
  RollbackRequest,
  RunRequest,
  RunSummary,
  RunView,
  Status,
  TokenAnswer,
  TokenRequest,
  TokenView,
  UserChange,
  UserView,
  Whoami,
} from "../api/contract.js";
import type { AuditEntry } from "../audit/entry.js";
import type { Plan } from "../plan/plan.js";
import type { Wait } from "../run/wait.js";
import type { Client } from "./client.js";
import type { ServerSent } from "./sse.js";

/** Planning asks managed clusters for their version, which may take its time. */
const PLAN_TIMEOUT_MS = 60_000;
/** A host reads a whole backend back. Below the 5 minutes after which fetch itself gives up waiting for an answer. */
const VERIFY_TIMEOUT_MS = 290_000;

/** belayd's API (`api/contract.ts`), a method a route. `run` may be a prefix of an id or `latest`; `plan` a prefix. */
export class Api {
  readonly client: Client;

  constructor(client: Client) {
    this.client = client;
  }

  audit(filter: Readonly<Record<string, string | number>>): Promise<AuditPage> {
    return this.client.get(`/v1/audit${query(filter)}`);
  }

  auditEntry(entry: string): Promise<AuditEntry> {
    return this.client.get(path`/v1/audit/entries/${entry}`);
  }

  /** Null: the log has no such file. */
  auditFile(name: string): Promise<Buffer | null> {
    return this.client.bytes(`/v1/audit/files/${name}`);
  }

  status(): Promise<Status> {
    return this.client.get("/v1/status");
  }

  fleet(): Promise<FleetView> {
    return this.client.get("/v1/fleet");
  }

  makePlan(request: PlanRequest): Promise<PlanAnswer> {
    return this.client.post("/v1/plans", request, PLAN_TIMEOUT_MS);
  }

  plans(limit: number): Promise<PlanSummary[]> {
    return this.client.get(`/v1/plans${query({ limit })}`);
  }

  plan(plan: string): Promise<Plan> {
    return this.client.get(path`/v1/plans/${plan}`);
  }

  startRun(request: RunRequest): Promise<RunView> {
    return this.client.post("/v1/runs", request, PLAN_TIMEOUT_MS);
  }

  runs(limit: number): Promise<RunSummary[]> {
    return this.client.get(`/v1/runs${query({ limit })}`);
  }

  run(run: string): Promise<RunView> {
    return this.client.get(path`/v1/runs/${run}`);
  }

  recap(run: string): Promise<Recap> {
    return this.client.get(path`/v1/runs/${run}/recap`);
  }

  why(run: string): Promise<{ waits: Wait[] }> {
    return this.client.get(path`/v1/runs/${run}/why`);
  }

  log(run: string, host?: string): Promise<LogLine[]> {
    return this.client.get(path`/v1/runs/${run}/log` + query({ host }));
  }

  /** `event: view`, each a RunView. */
  runStream(run: string, signal: AbortSignal): AsyncGenerator<ServerSent> {
    return this.client.events(path`/v1/runs/${run}/stream`, signal);
  }

  /** `event: line`, each a LogLine with a `seq` beyond `after`. */
  logStream(run: string, host: string | undefined, after: number, signal: AbortSignal): AsyncGenerator<ServerSent> {
    return this.client.events(path`/v1/runs/${run}/log` + query({ host, after, follow: 1 }), signal);
  }

  steer(run: string, verb: "pause" | "resume" | "abort", command: Command): Promise<RunView> {
    return this.client.post(path`/v1/runs/${run}/${verb}`, command);
  }

  answerFailure(run: string, verb: "retry" | "skip", command: FailureCommand): Promise<RunView> {
    return this.client.post(path`/v1/runs/${run}/${verb}`, command);
  }

  rollBack(run: string, request: RollbackRequest): Promise<RollbackAnswer> {
    return this.client.post(path`/v1/runs/${run}/rollback`, request, PLAN_TIMEOUT_MS);
  }

  gates(filter: { readonly run?: string; readonly all?: boolean }): Promise<GateView[]> {
    return this.client.get(`/v1/gates${query({ run: filter.run, all: filter.all ? 1 : undefined })}`);
  }

  gate(run: string, gate: string): Promise<GateView> {
    return this.client.get(path`/v1/gates/${run}/${gate}`);
  }

  decideGate(
    run: string,
    gate: string,
    verb: "approve" | "reject" | "break-glass",
    command: ApproveCommand,
  ): Promise<GateView> {
    return this.client.post(path`/v1/gates/${run}/${gate}/${verb}`, command);
  }

  hosts(): Promise<HostView[]> {
    return this.client.get("/v1/hosts");
  }

  host(host: string): Promise<HostView> {
    return this.client.get(path`/v1/hosts/${host}`);
  }

  setAside(host: string, verb: "quarantine" | "release", command: Command): Promise<HostView> {
    return this.client.post(path`/v1/hosts/${host}/${verb}`, command);
  }

  backups(filter: { readonly host?: string; readonly run?: string }): Promise<BackupView[]> {
    return this.client.get(`/v1/backups${query({ host: filter.host, run: filter.run })}`);
  }

  backup(host: string, backup: string): Promise<BackupView> {
    return this.client.get(path`/v1/backups/${host}/${backup}`);
  }

  /** `copy`: the copy that left the host, in place of the host's own. */
  verifyBackup(host: string, backup: string, copy: boolean): Promise<BackupView> {
    return this.client.post(
      path`/v1/backups/${host}/${backup}/verify` + query({ copy: copy ? 1 : undefined }),
      {},
      VERIFY_TIMEOUT_MS,
    );
  }

  restoreBackup(host: string, backup: string, request: RestoreRequest): Promise<RestoreAnswer> {
    return this.client.post(path`/v1/backups/${host}/${backup}/restore`, request, PLAN_TIMEOUT_MS);
  }

  releases(): Promise<ReleaseView[]> {
    return this.client.get("/v1/releases");
  }

  addRelease(file: string, sha256: string, bytes: ReadableStream<Uint8Array>): Promise<ReleaseView> {
    return this.client.upload(`/v1/releases${query({ file, sha256 })}`, bytes);
  }

  judgeRelease(version: string, verb: "block" | "unblock" | "clear", command: Command): Promise<ReleaseView> {
    return this.client.post(path`/v1/releases/${version}/${verb}`, command);
  }

  createToken(request: JoinTokenRequest): Promise<JoinTokenMade> {
    return this.client.post("/v1/agents/tokens", request);
  }

  tokens(): Promise<JoinTokenView[]> {
    return this.client.get("/v1/agents/tokens");
  }

  identities(): Promise<IdentityView[]> {
    return this.client.get("/v1/agents/identities");
  }

  revokeIdentity(host: string, command: Command): Promise<Record<string, never>> {
    return this.client.post(path`/v1/agents/identities/${host}/revoke`, command);
  }

  authorities(): Promise<AuthorityView[]> {
    return this.client.get("/v1/authorities");
  }

  rotateAuthority(): Promise<AuthorityView[]> {
    return this.client.post("/v1/authorities/rotate", {});
  }

  activateAuthority(command: PhaseCommand): Promise<{ authorities: AuthorityView[]; tokensEnded: string[] }> {
    return this.client.post("/v1/authorities/activate", command);
  }

  retireAuthority(command: PhaseCommand): Promise<AuthorityView[]> {
    return this.client.post("/v1/authorities/retire", command);
  }

  beginLogin(): Promise<DeviceLogin> {
    return this.client.post("/v1/login/device", {});
  }

  pollLogin(id: string): Promise<DeviceAnswer> {
    return this.client.post("/v1/login/device/poll", { id });
  }

  whoami(): Promise<Whoami> {
    return this.client.get("/v1/whoami");
  }

  users(): Promise<UserView[]> {
    return this.client.get("/v1/users");
  }

  user(name: string): Promise<UserView> {
    return this.client.get(path`/v1/users/${name}`);
  }

  createUser(user: NewUser): Promise<UserView> {
    return this.client.post("/v1/users", user);
  }

  changeUser(name: string, change: UserChange): Promise<UserView> {
    return this.client.post(path`/v1/users/${name}`, change);
  }

  removeUser(name: string): Promise<Record<string, never>> {
    return this.client.delete(path`/v1/users/${name}`);
  }

  apiTokens({ user, all }: { readonly user?: string; readonly all?: boolean }): Promise<TokenView[]> {
    return this.client.get(`/v1/tokens${query({ user, all: all ? 1 : undefined })}`);
  }

  createApiToken(request: TokenRequest): Promise<TokenAnswer> {
    return this.client.post("/v1/tokens", request);
  }

  revokeApiToken(id: string): Promise<Record<string, never>> {
    return this.client.delete(path`/v1/tokens/${id}`);
  }

  revokeToken(host: string): Promise<Record<string, never>> {
    return this.client.delete(path`/v1/agents/tokens/${host}`);
  }
}

/** A path whose names are escaped: what a person types can't lead to another route. */
function path(parts: TemplateStringsArray, ...names: readonly string[]): string {
  return parts.reduce((done, part, index) => `${done}${encodeURIComponent(names[index - 1] ?? "")}${part}`);
}

function query(fields: Readonly<Record<string, string | number | undefined>>): string {
  const pairs = Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}
