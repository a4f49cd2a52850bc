import {
  ContractFunctionExecutionError,
  ContractFunctionRevertedError,
  encodeErrorResult,
  HttpRequestError,
  InsufficientFundsError,
  TransactionExecutionError,
  UserRejectedRequestError,
} from "viem";
import { expect, it } from "vitest";
import { everyAbi } from "../../src/abi";
import { explain, isChainUnknown, Problem } from "../../src/problem";

const WHAT = "The order was not placed.";
const sent = (cause: Error) => new TransactionExecutionError(cause as never, { account: null } as never);

function reverted(errorName: string, args: readonly unknown[]) {
  const data = encodeErrorResult({ abi: everyAbi, errorName, args } as never);
  const cause = new ContractFunctionRevertedError({ abi: everyAbi, data, functionName: "approveAndCall" });
  return new ContractFunctionExecutionError(cause, { abi: everyAbi, functionName: "withdraw", args: [1n] });
}

const account = "0x1111111111111111111111111111111111111111";

it.each([
  [
    "a refusal in the wallet",
    sent(new UserRejectedRequestError(new Error("no"))),
    /You declined it/,
    /Nothing was paid/,
  ],
  ["a bare refusal", { code: 4001, message: "rejected" }, /You declined it/, /Nothing was paid/],
  ["a wallet that still asks", { code: -32002, message: "pending" }, /still waits/, /Open the wallet/],
  ["too little ether", sent(new InsufficientFundsError()), /too little ether/, /Send some ether/],
  ["a silent node", new HttpRequestError({ url: "http://x" }), /did not answer/, /nothing is lost/],
  ["too little RLC", reverted("ERC20InsufficientBalance", [account, 5n, 7_000_000_000n]), /7\u00a0RLC/, /Get more RLC/],
  ["a higher price", reverted("PriceAboveMax", [2_000_000_000n, 1n]), /risen to 2\u00a0RLC/, /order again/],
  ["a withdrawn offer", reverted("OfferNotActive", [`0x${"00".repeat(32)}`]), /withdrawn its offer/, /Reload/],
  ["a refund too early", reverted("DeadlineNotPassed", [1_900_000_000n]), /2030/, /after that/],
  ["an order that is over", reverted("NotOpen", [`0x${"00".repeat(32)}`, 2]), /settled or refunded/, /Reload/],
])("%s says why and what to try", (_, error, why, hint) => {
  const problem = explain(error, WHAT);
  expect(problem.what).toBe(WHAT);
  expect(problem.why).toMatch(why);
  expect(problem.hint).toMatch(hint);
});

it("a problem stays what it is", () => {
  const problem = new Problem("a", "b", "c");
  expect(explain(problem, WHAT)).toBe(problem);
});

it("knows a wallet that has never heard of the chain", () => {
  expect(isChainUnknown({ code: 4902, message: "" })).toBe(true);
  expect(isChainUnknown({ code: -32603, message: "Unrecognized chain ID 0x1" })).toBe(true);
  expect(isChainUnknown({ code: 4001, message: "rejected" })).toBe(false);
});
