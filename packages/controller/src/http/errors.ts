import { type ErrorInfo, errorInfo } from "@belay/shared";

/** Which status an error's code answers with; what is not listed is the caller's mistake (400), `internal` ours (500). */
const STATUS: Readonly<Record<string, number>> = {
  unauthorized: 401,
  forbidden: 403,
  "content-type-refused": 415,
  "locked-out": 429,
  "too-many-requests": 429,
  "too-many-connections": 429,
  "cross-site": 403,
  "sign-in-refused": 403,
  "too-many-sign-ins": 503,
  "provider-unreachable": 503,
  "not-found": 404,
  "plan-unknown": 404,
  "run-unknown": 404,
  "gate-unknown": 404,
  "host-unknown": 404,
  "backup-unknown": 404,
  "release-unknown": 404,
  "artifact-unknown": 404,
  "entry-unknown": 404,
  "audit-file-unknown": 404,
  "token-unknown": 404,
  "identity-unknown": 404,
  "token-host-mismatch": 403,
  "token-used": 403,
  "token-expired": 403,
  "token-ended": 403,
  "identity-revoked": 403,
  "certificate-revoked": 403,
  "proof-wrong": 403,
  "user-unknown": 404,
  "user-exists": 409,
  "user-removed": 409,
  "user-managed": 409,
  "plan-ambiguous": 409,
  "cluster-busy": 409,
  "rollback-pending": 409,
  "run-broken": 409,
  superseded: 409,
  "run-ended": 409,
  "run-not-here": 409,
  "artifact-differs": 409,
  "artifact-not-stored": 409,
  "rotation-open": 409,
  "rotation-missing": 409,
  "hosts-would-be-lost": 409,
  "host-offline": 409,
  "copy-unknown": 404,
  "copy-lost": 409,
  "copy-damaged": 409,
  "artifact-too-large": 413,
  "copy-too-large": 413,
  internal: 500,
  "plan-broken": 500,
  "audit-broken": 500,
  "run-unreadable": 503,
  "shutting-down": 503,
  "copy-store-unreachable": 503,
  "copy-store-refused": 503,
  "errand-timeout": 504,
  "copy-store-full": 507,
};

export function statusOf(error: ErrorInfo): number {
  const known = STATUS[error.code];
  if (known !== undefined) return known;
  return error.code.startsWith("os-") ? 500 : 400;
}

/** An error as the API answers it. What fastify itself refuses (a bad body, a wrong type) gets a code of its own. */
export function answerOf(thrown: unknown): { status: number; body: { error: ErrorInfo } } {
  const fastify = thrown as { statusCode?: number; validation?: unknown; code?: string; message?: string };
  if (typeof fastify.code === "string" && fastify.code.startsWith("FST_ERR_")) {
    const code = fastify.validation === undefined ? "request-refused" : "request-invalid";
    return {
      status: fastify.statusCode ?? 400,
      body: { error: { code, message: fastify.message ?? "request refused" } },
    };
  }
  const error = errorInfo(thrown);
  return { status: statusOf(error), body: { error } };
}
