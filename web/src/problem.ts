/** What failed, why, and what to try: the only form in which an error reaches the user. */
import { BaseError, ContractFunctionRevertedError } from "viem";
import { ether, rlc } from "./format";

export class Problem extends Error {
  constructor(
    readonly what: string,
    readonly why: string,
    readonly hint: string,
  ) {
    super(`${what} ${why}`);
  }
}

/** Codes of EIP-1193 and of the JSON-RPC errors that wallets add. */
const REJECTED = 4001;
const UNAUTHORIZED = 4100;
const CHAIN_UNKNOWN = 4902;
const REQUEST_PENDING = -32002;

/** Turns whatever a wallet, a node or a contract has thrown into words. `what` says what was being done. */
export function explain(error: unknown, what: string): Problem {
  if (error instanceof Problem) return error;
  const code = codeOf(error);
  if (code === REJECTED || code === UNAUTHORIZED) {
    return new Problem(what, "You declined it in your wallet.", "Nothing was paid. Try again when you are ready.");
  }
  if (code === REQUEST_PENDING) {
    return new Problem(
      what,
      "Your wallet still waits for an answer to an earlier question.",
      "Open the wallet and answer it there.",
    );
  }
  const revert = revertOf(error);
  if (revert) return new Problem(what, ...inWords(revert));
  const text = textOf(error);
  if (/insufficient funds|exceeds the balance of the account/i.test(text)) {
    return new Problem(
      what,
      "The account has too little ether for the network fee.",
      "Send some ether to this account, then try again.",
    );
  }
  if (/failed to fetch|http request failed|networkerror|timed? ?out|took too long/i.test(text)) {
    return new Problem(
      what,
      "The chain node behind this page did not answer.",
      "Check your connection and try again; nothing is lost.",
    );
  }
  return new Problem(what, text, "Try again; if it keeps failing, reload the page. Your key stays in this browser.");
}

export function isChainUnknown(error: unknown): boolean {
  return codeOf(error) === CHAIN_UNKNOWN || /unrecognized chain|4902/i.test(textOf(error));
}

interface Revert {
  name: string;
  args: readonly unknown[];
}

function inWords({ name, args }: Revert): [string, string] {
  const value = (at: number) => BigInt(String(args[at] ?? 0));
  switch (name) {
    case "ERC20InsufficientBalance":
      return [
        `The account has ${rlc(value(1))} and the order costs ${rlc(value(2))}.`,
        "Get more RLC, or shorten the pattern.",
      ];
    case "PriceAboveMax":
      return [`The price has risen to ${rlc(value(0))}.`, "Look at the new price and order again."];
    case "OfferNotActive":
      return ["The pool has withdrawn its offer.", "Reload the page for its current offer."];
    case "TooDifficult":
      return ["No price can be given for so rare a pattern.", "Shorten the pattern."];
    case "PriceTooLarge":
      return ["The price is more than the market can hold.", "Shorten the pattern."];
    case "NotOpen":
      return ["The order has been settled or refunded already.", "Reload the page to see its state."];
    case "DeadlineNotPassed":
      return [
        `The pool has time until ${new Date(Number(value(0)) * 1000).toLocaleString("en")}.`,
        "Ask again after that.",
      ];
    case "AccountTooLow":
      return [`The account holds ${rlc(value(1))}.`, "Reload the page to see the balance."];
    default:
      return [`The contract refused with “${name}”.`, "Reload the page and try again."];
  }
}

function revertOf(error: unknown): Revert | null {
  if (!(error instanceof BaseError)) return null;
  const reverted = error.walk((cause) => cause instanceof ContractFunctionRevertedError);
  if (!(reverted instanceof ContractFunctionRevertedError)) return null;
  const name = reverted.data?.errorName ?? reverted.reason ?? reverted.signature ?? "no reason";
  return { name, args: reverted.data?.args ?? [] };
}

function codeOf(error: unknown): number | null {
  for (let cause: unknown = error, depth = 0; typeof cause === "object" && cause !== null && depth < 10; depth++) {
    const { code } = cause as { code?: unknown };
    if (typeof code === "number") return code;
    cause = (cause as { cause?: unknown; data?: { originalError?: unknown } }).cause;
  }
  return null;
}

function textOf(error: unknown): string {
  if (error instanceof BaseError) return error.details ? `${error.shortMessage} ${error.details}` : error.shortMessage;
  return error instanceof Error || (typeof error === "object" && error !== null && "message" in error)
    ? String((error as Error).message)
    : String(error);
}

/** For a page that pays: both balances against what an order takes. */
export function tooLittleRlc(has: bigint, needs: bigint, dev: boolean): Problem {
  const hint = dev ? "Press “Get play money”, or shorten the pattern." : "Get more RLC, or shorten the pattern.";
  return new Problem(
    "This account cannot pay the order.",
    `It has ${rlc(has)} and the order costs ${rlc(needs)}.`,
    hint,
  );
}

export function tooLittleEther(has: bigint, needs: bigint, dev: boolean): Problem {
  const why = `It has ${ether(has)} and the network fee may be ${ether(needs)}.`;
  const hint = dev
    ? "Press “Get play money”."
    : "Send some ether to this account; RLC pays the search, ether pays the network.";
  return new Problem("This account cannot pay the network fee.", why, hint);
}
