/** The parts of the contracts that the page calls and reads. A test compares them with the committed artifacts. */
import { parseAbi } from "viem";

const ORDER_STRUCT =
  "struct Order { bytes32 offer; address requester; address callback; uint32 callbackGas; uint64 units; uint96 price; uint64 deadline; uint256 nonce; bytes params; }";
const OFFER_STRUCT =
  "struct Offer { address pool; address provider; bytes32 app; address verifier; uint96 unitPrice; uint16 poolFeeBps; uint16 providerFeeBps; uint32 duration; }";

export const tokenAbi = parseAbi([
  "function approveAndCall(address spender, uint256 amount, bytes data) returns (bool)",
  "function balanceOf(address account) view returns (uint256)",
  "function transfer(address to, uint256 value) returns (bool)",
  "error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed)",
]);

/** Only on development chains. */
export const faucetAbi = parseAbi(["function faucet(uint256 amount)", "function FAUCET_MAX() view returns (uint256)"]);

export const shopAbi = parseAbi([
  "function quote(bytes params) view returns (uint64 units, uint256 price)",
  "function answerOf(bytes32 order_) view returns (bool found, address worker, uint64 index, uint8 image)",
  "function MARKET() view returns (address)",
  "function TOKEN() view returns (address)",
  "function OFFER() view returns (bytes32)",
  "function UNIT_CANDIDATES() view returns (uint64)",
  "function MIN_UNITS() view returns (uint64)",
  "event Ordered(bytes32 indexed order, address indexed requester, uint64 units, uint256 price, bytes params)",
  "event Found(bytes32 indexed order, address indexed requester, address indexed worker, uint64 index, uint8 image)",
  "error PriceAboveMax(uint256 price, uint256 priceMax)",
  "error OfferNotActive(bytes32 offer)",
  "error TooDifficult(uint256 difficulty)",
  "error KeyNotOnCurve(uint256 x)",
  "error SafeERC20FailedOperation(address token)",
]);

export const marketAbi = parseAbi([
  ORDER_STRUCT,
  OFFER_STRUCT,
  "function offerOf(bytes32 offer) view returns (Offer terms, bool active)",
  "function statusOf(bytes32 order) view returns (uint8)",
  "function accountOf(address account) view returns (uint256)",
  "function refund(Order order)",
  "function withdraw(uint256 amount)",
  "event Requested(bytes32 indexed order, bytes32 indexed offer, address indexed requester, Order details)",
  "event Settled(bytes32 indexed order, address indexed worker, uint256 workerPaid, uint256 poolPaid, uint256 providerPaid, bytes result)",
  "event CallbackFailed(bytes32 indexed order, bytes reason)",
  "event Declined(bytes32 indexed order, bytes reason)",
  "event Refunded(bytes32 indexed order, address indexed requester, uint256 amount)",
  "error AccountTooLow(address account, uint256 balance, uint256 needed)",
  "error NotOpen(bytes32 order, uint8 status)",
  "error DeadlineNotPassed(uint256 deadline)",
  "error PriceTooLarge(uint256 price)",
]);

/** Every error that a call of ours can come back with, whichever contract in the chain of calls raised it. */
export const everyAbi = [...tokenAbi, ...shopAbi, ...marketAbi] as const;

export enum OrderStatus {
  None = 0,
  Open = 1,
  Settled = 2,
  Refunded = 3,
}
