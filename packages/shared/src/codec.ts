import type { Static, TObject, TSchema, TUnion } from "typebox";
import { Compile, type Validator } from "typebox/compile";
import { BelayError } from "./error.js";
import { AgentMessage, ControllerMessage, MAX_FRAME_BYTES } from "./message.js";
import { Op } from "./op.js";

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

/**
 * A decoder for a union of objects that one literal field tells apart. An error speaks of the member that was meant, not
 * of the first one that didn't fit.
 */
export function taggedDecoder<S extends TUnion<TObject[]>>(
  union: S,
  tag: string,
  what: string,
  code: string,
): Decoder<Static<S>> {
  const members = new Map(
    union.anyOf.map((member) => {
      const { const: name } = member.properties[tag] as TSchema & { const: string };
      return [name, decoder(member, `${what} ${name}`, code)] as const;
    }),
  );
  return (input) => {
    const name = (input as Record<string, unknown> | null | undefined)?.[tag];
    const decode = typeof name === "string" ? members.get(name) : undefined;
    if (decode !== undefined) return decode(input) as Static<S>;
    throw new BelayError(code, `${what}: /${tag} is none of ${[...members.keys()].join(", ")}`, {
      context: { field: `/${tag}` },
    });
  };
}

export const decodeOp: Decoder<Op> = taggedDecoder(Op, "kind", "op", "op-malformed");
const agentMessage = taggedDecoder(AgentMessage, "type", "agent message", "message-malformed");
const controllerMessage = taggedDecoder(ControllerMessage, "type", "controller message", "message-malformed");

/** Decodes one text frame from an agent. Throws `message-malformed` or `message-too-large`. */
export function decodeAgentMessage(frame: string): AgentMessage {
  return agentMessage(parseFrame(frame));
}

/** Decodes one text frame from the controller. Throws `message-malformed` or `message-too-large`. */
export function decodeControllerMessage(frame: string): ControllerMessage {
  return controllerMessage(parseFrame(frame));
}

export function encode(message: AgentMessage | ControllerMessage): string {
  return JSON.stringify(message);
}

function parseFrame(frame: string): unknown {
  if (frame.length > MAX_FRAME_BYTES) {
    throw new BelayError("message-too-large", `a frame of ${frame.length} characters; the limit is ${MAX_FRAME_BYTES}`);
  }
  try {
    return JSON.parse(frame);
  } catch (cause) {
    throw new BelayError("message-malformed", "a frame that is not JSON", { cause });
  }
}
