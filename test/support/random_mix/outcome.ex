defmodule ErlangPython.RandomMix.Outcome do
  @moduledoc false
  # Whether what came out is what must come out, or tells of a fault that was made on purpose.

  alias ErlangPython.Error
  alias ErlangPython.RandomMix.ElixirPart.Planned

  @doc "Is it what `Plans.expect/1` says?"
  def right?({:ok, n}, {:ok, n}), do: true
  def right?({:raised, %Planned{n: n}}, {:raised, n}), do: true
  def right?(_got, _expected), do: false

  @doc "Is it the end of a request that could meet a fault? `what` was done to its caller."
  def fault?(:killed, _what), do: true

  # Of those that have a deadline, at any level below it.
  def fault?({:raised, %Error{kind: :timeout}}, what), do: what == :deadline

  def fault?({:raised, %Error{kind: kind}}, _what) when kind in [:worker_exit, :context_lost],
    do: true

  def fault?({:raised, %Error{kind: :elixir, details: details}}, what) do
    case details do
      %{kind: :error, reason: %Error{} = error} -> fault?({:raised, error}, what)
      # Of a callback that was stopped with its request, or whose iterator was.
      %{kind: :exit, reason: reason} -> reason in [:cancelled, :killed, :the_iterator_has_ended]
      _other -> false
    end
  end

  def fault?({:raised, %Error{kind: :python, type: type}}, _what),
    do: type in ["erlang.Interrupted", "asyncio.exceptions.CancelledError", "ConnectionError"]

  def fault?(_other, _what), do: false

  @doc "An outcome as text for a message."
  def shown({:raised, %Error{} = error}) do
    text = error |> Exception.message() |> String.slice(0, 2_000)
    "#{error.kind} #{error.type}: #{text}\n#{inspect(error.details)}"
  end

  def shown(other), do: inspect(other)
end
