/** What a person without a browser here types elsewhere. */
export interface DeviceLogin {
  /** To ask again with; nobody else's business. */
  readonly id: string;
  readonly code: string;
  readonly url: string;
  /** The same with the code in it, where the provider has one. */
  readonly urlWithCode: string | null;
  readonly expiresAt: number;
}

export interface DeviceAnswer {
  /** Null: not decided yet. */
  readonly token: string | null;
}
