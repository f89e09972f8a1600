import type { Action } from "../audit/action.js";

/** What the audit log keeps of a command. Members are named one by one: what is not named does not get in. */
export interface AuditedRoute {
  readonly action: Action;
  /** Of the path. */
  readonly params?: readonly string[];
  readonly query?: readonly string[];
  readonly body?: readonly string[];
  /** Of the answer. */
  readonly answer?: readonly string[];
}

const RUN = { params: ["run"], body: ["reason"], answer: ["id", "status"] } as const;
const GATE = { params: ["run", "gate"], body: ["reason"], answer: ["status"] } as const;
const FAILURE = { params: ["run"], body: ["reason", "hosts"], answer: ["id", "status"] } as const;
const HOST = { params: ["host"], body: ["reason"] } as const;
const RELEASE = { params: ["version"], body: ["reason"], answer: ["version", "blocked", "suspect"] } as const;

/**
 * Every route that changes something, by method and path; null: what it does is put on record by itself, or is nothing.
 * test/audit/routes.test.ts finds the ones that are missing.
 */
export const AUDITED_ROUTES: Readonly<Record<string, AuditedRoute | null>> = {
  "POST /v1/plans": {
    action: "plan-make",
    body: ["to", "via", "product", "clusters", "limit", "quarantine"],
    answer: ["ok", "changes", "plan.id"],
  },
  "POST /v1/runs": { action: "run-start", body: ["plan", "check", "reason"], answer: ["id", "status"] },
  "POST /v1/runs/:run/pause": { action: "run-pause", ...RUN },
  "POST /v1/runs/:run/resume": { action: "run-resume", ...RUN },
  "POST /v1/runs/:run/abort": { action: "run-abort", ...RUN },
  "POST /v1/runs/:run/retry": { action: "run-retry", ...FAILURE },
  "POST /v1/runs/:run/skip": { action: "run-skip", ...FAILURE },
  "POST /v1/runs/:run/rollback": {
    action: "run-rollback",
    params: ["run"],
    body: ["reason", "scope", "safetyBackup", "planOnly"],
    answer: ["run", "plan.ok", "plan.plan.id"],
  },
  "POST /v1/gates/:run/:gate/approve": { action: "gate-approve", ...GATE },
  "POST /v1/gates/:run/:gate/reject": { action: "gate-reject", ...GATE },
  "POST /v1/gates/:run/:gate/break-glass": { action: "gate-break-glass", ...GATE },
  "POST /v1/hosts/:host/quarantine": { action: "host-quarantine", ...HOST, answer: ["quarantine.reason"] },
  "POST /v1/hosts/:host/release": { action: "host-release", ...HOST },
  "POST /v1/backups/:host/:backup/verify": {
    action: "backup-verify",
    params: ["host", "backup"],
    query: ["copy"],
    answer: ["verifiedAt"],
  },
  "POST /v1/backups/:host/:backup/restore": {
    action: "backup-restore",
    params: ["host", "backup"],
    body: ["reason", "safetyBackup", "planOnly"],
    answer: ["run", "plan.ok", "plan.plan.id"],
  },
  "PUT /v1/backups/:host/:backup/copy": {
    action: "copy-put",
    params: ["host", "backup"],
    answer: ["sha256", "bytes"],
  },
  "POST /v1/releases": { action: "release-add", query: ["file", "sha256"], answer: ["version"] },
  "POST /v1/releases/:version/block": { action: "release-block", ...RELEASE },
  "POST /v1/releases/:version/unblock": { action: "release-unblock", ...RELEASE },
  "POST /v1/releases/:version/clear": { action: "release-clear", ...RELEASE },
  "POST /v1/agents/tokens": {
    action: "agent-token-create",
    body: ["host", "ttlSeconds", "plaintext"],
    answer: ["host", "expiresAt"],
  },
  "DELETE /v1/agents/tokens/:host": { action: "agent-token-revoke", params: ["host"] },
  // Of these the identities tell themselves: see identity/event.ts. The last one does nothing but ask for a certificate.
  "POST /v1/agents/join": null,
  "POST /v1/agents/renew": null,
  "POST /v1/agents/show": null,
  "POST /v1/agents/identities/:host/revoke": { action: "agent-revoke", ...HOST },
  "POST /v1/authorities/rotate": { action: "authority-rotate", body: ["reason"] },
  "POST /v1/authorities/activate": { action: "authority-activate", body: ["reason", "lose"] },
  "POST /v1/authorities/retire": { action: "authority-retire", body: ["reason", "lose"] },
  "POST /v1/logout": { action: "sign-out" },
  // Nobody has signed in yet; the second one says so itself when somebody has.
  "POST /v1/login/device": null,
  "POST /v1/login/device/poll": null,
  "POST /v1/users": { action: "user-create", body: ["name", "roles", "groups", "again"], answer: ["roles", "groups"] },
  "POST /v1/users/:user": {
    action: "user-change",
    params: ["user"],
    body: ["roles", "groups"],
    answer: ["roles", "groups"],
  },
  "DELETE /v1/users/:user": { action: "user-remove", params: ["user"] },
  "POST /v1/tokens": {
    action: "api-token-create",
    body: ["name", "user", "roles", "ttlMs"],
    answer: ["id", "user", "name", "roles", "expiresAt"],
  },
  "DELETE /v1/tokens/:token": { action: "api-token-revoke", params: ["token"] },
};
