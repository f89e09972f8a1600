import type { Static, TSchema } from "typebox";
import { Compile, type Validator } from "typebox/compile";
import { BelayError } from "./error.js";

/** Turns unknown input into a typed value, or throws a BelayError that names the field. The only way in from outside. */
export type Decoder<T> = (input: unknown) => T;

/**
 * A decoder for parsed JSON. `what` names the thing in errors; `code` is the error's code. The schema is compiled at the
 * first use: compiling all of them took half of the start of a command line that decodes nothing.
 */
export function decoder<S extends TSchema>(schema: S, what: string, code: string): Decoder<Static<S>> {
  let validator: Validator | undefined;
  return (input) => {
    validator ??= Compile(schema);
    if (validator.Check(input)) return input as Static<S>;
    const first = validator.Errors(input)[0];
    const field = first?.instancePath ? first.instancePath : "/";
    throw new BelayError(code, `${what}: ${field} ${first?.message ?? "is not valid"}`, { context: { field } });
  };
}
