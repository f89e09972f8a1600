import Type, { type Static } from "typebox";

/**
 * An error as it travels: in messages, events, journals and API answers.
 * `code` is for programs (kebab-case, stable), `message` says what happened, `hint` says what to do,
 * `context` holds the facts (never secrets).
 */
export const ErrorInfo = Type.Object(
  {
    code: Type.String({ pattern: "^[a-z][a-z0-9-]{1,63}$" }),
    message: Type.String({ maxLength: 4096 }),
    hint: Type.Optional(Type.String({ maxLength: 4096 })),
    context: Type.Optional(Type.Record(Type.String({ maxLength: 128 }), Type.Unknown())),
  },
  { additionalProperties: false },
);
export type ErrorInfo = Static<typeof ErrorInfo>;

/** An expected failure: something a person can act on. Survives JSON through `toJSON` and `BelayError.from`. */
export class BelayError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  readonly context: Record<string, unknown> | undefined;

  constructor(
    code: string,
    message: string,
    options: { hint?: string; context?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BelayError";
    this.code = code;
    this.hint = options.hint;
    this.context = options.context;
  }

  /** Rebuilds an error from what `toJSON` wrote. */
  static from(info: ErrorInfo): BelayError {
    return new BelayError(info.code, info.message, {
      ...(info.hint === undefined ? {} : { hint: info.hint }),
      ...(info.context === undefined ? {} : { context: info.context }),
    });
  }

  toJSON(): ErrorInfo {
    return {
      code: this.code,
      message: this.message.slice(0, 4096),
      ...(this.hint === undefined ? {} : { hint: this.hint.slice(0, 4096) }),
      ...(this.context === undefined ? {} : { context: this.context }),
    };
  }
}

/**
 * Any thrown value as an ErrorInfo. A BelayError keeps its code; a system error becomes `os-enospc` and the like, so
 * that policy can match on it; anything else is an `internal` error, which is a defect to report.
 */
export function errorInfo(thrown: unknown): ErrorInfo {
  if (thrown instanceof BelayError) return thrown.toJSON();
  if (thrown instanceof Error) {
    const { code, path, syscall } = thrown as NodeJS.ErrnoException;
    if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) {
      return {
        code: `os-${code.toLowerCase()}`,
        message: thrown.message.slice(0, 4096),
        context: { ...(path === undefined ? {} : { path }), ...(syscall === undefined ? {} : { syscall }) },
      };
    }
    return { code: "internal", message: thrown.message.slice(0, 4096) };
  }
  return { code: "internal", message: String(thrown).slice(0, 4096) };
}
