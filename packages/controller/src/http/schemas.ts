import Type from "typebox";

/** Free text that ends up in records and on screens, so no control characters. */
export const Reason = Type.String({ maxLength: 2_000, pattern: "^[^\\x00-\\x08\\x0b-\\x1f\\x7f]*$" });
export const Name = Type.String({ minLength: 1, maxLength: 128 });
export const VersionText = Type.String({ minLength: 1, maxLength: 64 });

export const AcceptRisks = Type.Array(
  Type.Object({ code: Name, subject: Name, why: Reason }, { additionalProperties: false }),
  { maxItems: 10_000 },
);

export const CommandBody = Type.Object({ reason: Type.Optional(Reason) }, { additionalProperties: false });

/** How many at most, for lists that grow for ever. */
export const LimitQuery = Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })) });
export const DEFAULT_LIMIT = 50;
