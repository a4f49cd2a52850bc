// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Outcome} from "../Outcome.sol";
import {TaskBase} from "../TaskBase.sol";
import {IMarket} from "../interfaces/IMarket.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title A raffle whose draw is computed off chain, and checked on chain only if somebody doubts it
/// @notice Tickets are bought until the sale ends; then anybody has the draw computed, with a seed that nobody knew while
/// tickets were sold. The ticket with the lowest `scoreOf` wins. To find it is work that grows with the number of tickets;
/// to show that another was lower is one hash. So the pool's word is taken, and whoever holds a lower ticket has a day
/// to say so: a pool that lies gains nothing but its fee.
/// @dev The pot depends on no pool: if no draw comes, players name their tickets themselves by `challenge`.
contract Raffle is TaskBase {
    using SafeERC20 for IERC20;

    /// @notice What the app goes through within its limits.
    uint256 public constant MAX_TICKETS = 10_000;
    /// @notice How long the draw may take before it can be asked for again, or done without.
    uint256 public constant RETRY = 1 days;
    /// @notice How long the winner waits for somebody with a lower ticket.
    uint256 public constant CHALLENGE = 1 days;
    uint32 private constant CALLBACK_GAS = 80_000;

    uint256 public immutable TICKET_PRICE;
    uint256 public immutable SALE_END;

    address[] public tickets;
    uint256 public seedBlock;
    bytes32 public seed;
    bytes32 public drawing;
    uint256 public askedAt;
    uint256 public pot;
    /// @notice The lowest ticket that is known, once `drawnAt` is not zero.
    uint128 public leader;
    uint64 public drawnAt;
    uint64 public closedAt;

    event TicketBought(address indexed player, uint256 indexed ticket);
    event Closed(uint256 seedBlock);
    event DrawAsked(bytes32 indexed order, bytes32 seed, uint256 tickets);
    event Led(address indexed player, uint256 indexed ticket);
    event Collected(address indexed player, uint256 amount);

    error SaleOver();
    error SaleNotOver();
    error NoTickets();
    error TooManyTickets();
    error AlreadyClosed();
    error NoSeed();
    error AlreadyDrawn();
    error NotDrawn();
    error DrawUnderWay(bytes32 order);
    error DrawFailed(uint32 exitStatus);
    error ChallengeOver();
    error ChallengeNotOver();
    error NotLower(uint256 ticket);
    error NotWinner(address caller);
    error TicketUnknown(uint256 ticket);

    constructor(IMarket market, bytes32 offer, uint256 ticketPrice, uint256 saleEnd) TaskBase(market, offer) {
        (TICKET_PRICE, SALE_END) = (ticketPrice, saleEnd);
    }

    /// @notice Buys a ticket, by the caller's approval.
    function buy() external {
        if (block.timestamp > SALE_END) revert SaleOver();
        if (tickets.length == MAX_TICKETS) revert TooManyTickets();
        pot += TICKET_PRICE;
        tickets.push(msg.sender);
        emit TicketBought(msg.sender, tickets.length - 1);
        TOKEN.safeTransferFrom(msg.sender, address(this), TICKET_PRICE);
    }

    /// @notice Names the block whose hash will be the seed. It does not exist yet, so that nobody can wait for one to
    /// its liking. Anybody may call, and again only if that hash has gone out of reach unused.
    function close() external {
        if (block.timestamp <= SALE_END) revert SaleNotOver();
        if (tickets.length == 0) revert NoTickets();
        if (seed != 0 || (seedBlock != 0 && block.number <= seedBlock + 256)) revert AlreadyClosed();
        seedBlock = block.number + 2;
        closedAt = uint64(block.timestamp);
        emit Closed(seedBlock);
    }

    /// @notice Keeps the seed before its block goes out of reach. `draw` does it, too.
    function takeSeed() public {
        if (seed == 0) seed = blockhash(seedBlock);
        if (seed == 0) revert NoSeed();
    }

    /// @notice Has the draw computed, at the caller's expense: an approval for the offer's unit price.
    function draw() external returns (bytes32) {
        if (drawnAt != 0) revert AlreadyDrawn();
        if (drawing != 0 && block.timestamp <= askedAt + RETRY) revert DrawUnderWay(drawing);
        takeSeed();
        askedAt = block.timestamp;
        bytes memory params = abi.encode(address(this), seed, tickets.length);
        drawing = _ask(msg.sender, msg.sender, 1, CALLBACK_GAS, params);
        emit DrawAsked(drawing, seed, tickets.length);
        return drawing;
    }

    /// @notice Names a ticket with a lower score than the leader's, or the first one if no draw has come.
    function challenge(uint256 ticket) external {
        if (ticket >= tickets.length) revert TicketUnknown(ticket);
        if (drawnAt == 0) {
            if (seed == 0 || block.timestamp <= closedAt + RETRY) revert NotDrawn();
        } else {
            if (block.timestamp > drawnAt + CHALLENGE) revert ChallengeOver();
            if (scoreOf(ticket) >= scoreOf(leader)) revert NotLower(ticket);
        }
        _lead(ticket);
    }

    /// @notice The winner's way to the pot.
    function collect() external {
        if (drawnAt == 0) revert NotDrawn();
        if (block.timestamp <= drawnAt + CHALLENGE) revert ChallengeNotOver();
        address winner = tickets[leader];
        if (msg.sender != winner) revert NotWinner(msg.sender);
        uint256 amount = pot;
        pot = 0;
        emit Collected(winner, amount);
        TOKEN.safeTransfer(winner, amount);
    }

    function ticketCount() external view returns (uint256) {
        return tickets.length;
    }

    /// @notice What decides: the lower, the better. The app computes the same.
    function scoreOf(uint256 ticket) public view returns (bytes32) {
        return sha256(abi.encode(address(this), seed, ticket));
    }

    /// @dev A draw that answers late counts like a challenge, and not at all if nothing speaks for it.
    function _answer(bytes32, address, bytes calldata result) internal override returns (bytes31) {
        (uint32 exitStatus,, bytes calldata answer) = Outcome.parse(result);
        if (exitStatus != 0) revert DrawFailed(exitStatus);
        uint256 ticket = abi.decode(answer, (uint256));
        if (ticket >= tickets.length) revert TicketUnknown(ticket);
        bool isOver = drawnAt != 0 && block.timestamp > drawnAt + CHALLENGE;
        if (drawnAt == 0 || (!isOver && scoreOf(ticket) < scoreOf(leader))) _lead(ticket);
        // forge-lint: disable-next-line(unsafe-typecast)
        return bytes31(uint248(ticket)); // fits: there are fewer tickets
    }

    /// @dev The window begins with the first leader and is not prolonged: whoever has the lowest ticket can say so at once.
    function _lead(uint256 ticket) internal {
        // forge-lint: disable-next-line(unsafe-typecast)
        leader = uint128(ticket); // fits: there are fewer tickets
        if (drawnAt == 0) drawnAt = uint64(block.timestamp);
        emit Led(tickets[ticket], ticket);
    }
}
