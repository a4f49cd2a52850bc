// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {TaskBase} from "./TaskBase.sol";
import {IMarket} from "./interfaces/IMarket.sol";

/// @title Contracts of 2017 on today's market
/// @notice The verbs that decentralized applications were written in when it all began. `setParam` or `iexecSubmit`
/// starts a computation, at one unit of the offer and paid by the sender's approval of this contract; `getResult` gives
/// the sender's last result; `iexecSubmitCallback` may be overridden to act on it. `pushResult` was the operator's way
/// to hand a result in: here the market does that, for a result that the offer's verifier has accepted.
/// @dev Results are text, kept on chain whole as they were then: more than a few words are better fetched by `_url`.
abstract contract Task is TaskBase {
    struct Result {
        string text;
        string url;
    }

    /// @notice Gas for a callback that stores texts of a hundred bytes or two.
    uint32 public constant CALLBACK_GAS = 400_000;

    mapping(address user => Result) private _results;

    event Launch(uint256 value, string param, address addr);
    event Logs(string status, address indexed user);
    event IexecSubmit(address indexed user, bytes32 indexed order, string param);
    event IexecSubmitCallback(bytes32 indexed submitTxHash, address indexed user, string stdout, string uri);

    error NotPushable(address caller);

    /// @notice Starts a computation with `_param` and `_value`, joined by a space.
    function setParam(string calldata _param, string calldata _value) external virtual {
        iexecSubmit(bytes(_value).length == 0 ? _param : string.concat(_param, " ", _value));
        emit Launch(UNIT_PRICE, _param, msg.sender);
        emit Logs("Task submitted", msg.sender);
    }

    /// @notice Nobody pushes results any more: they come from the market.
    function pushResult(address, string calldata, string calldata) external view virtual {
        revert NotPushable(msg.sender);
    }

    /// @return _result The text of the sender's last result.
    /// @return _url Where all of it is.
    function getResult() external view virtual returns (string memory _result, string memory _url) {
        Result storage result = _results[msg.sender];
        return (result.text, result.url);
    }

    /// @notice Starts a computation.
    /// @return order What identifies it, where the hash of the transaction once did.
    function iexecSubmit(string memory param) public virtual returns (bytes32 order) {
        order = _ask(msg.sender, msg.sender, 1, CALLBACK_GAS, bytes(param));
        emit IexecSubmit(msg.sender, order, param);
    }

    /// @dev To be overridden by who wants to act on results; this one does what was always done.
    function iexecSubmitCallback(bytes32 submitTxHash, address user, string memory stdout, string memory uri)
        internal
        virtual
        returns (bool)
    {
        _results[user] = Result(stdout, uri);
        emit Logs("Task finished!", user);
        emit IexecSubmitCallback(submitTxHash, user, stdout, uri);
        return true;
    }

    /// @dev A result is `abi.encode(text, url)`, or else all text. A malformed one must not revert: it is paid for.
    function _answer(bytes32 order, address user, bytes calldata result) internal override returns (bytes31) {
        try this.decode(result) returns (string memory text, string memory url) {
            iexecSubmitCallback(order, user, text, url);
        } catch {
            iexecSubmitCallback(order, user, string(result), "");
        }
        return 0;
    }

    /// @dev External, so that a failure can be caught.
    function decode(bytes calldata result) external pure returns (string memory text, string memory url) {
        return abi.decode(result, (string, string));
    }

    constructor(IMarket market, bytes32 offer) TaskBase(market, offer) {}
}
