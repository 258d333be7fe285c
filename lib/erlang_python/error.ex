defmodule ErlangPython.Error do
  @moduledoc """
  What went wrong with a request, as a struct that can be matched, raised and printed.

      iex> {:error, error} = ErlangPython.eval("1 / 0")
      iex> {error.kind, error.type, error.message}
      {:python, "ZeroDivisionError", "division by zero"}

  In a shell it is shown in short, `inspect(error, structs: false)` has all fields:

      iex> ErlangPython.eval("1 / 0", %{}, file: "rates.py", line: 7) |> elem(1) |> inspect()
      "#ErlangPython.Error<:python (ZeroDivisionError), executed: :yes\\n  division by zero\\n  (rates.py:7)>"

  ## Fields

    * `:kind` - why, out of the closed list of `t:kind/0`.
    * `:type` - for `:python`, the exception's qualified class name
      (`"ValueError"`, `"json.decoder.JSONDecodeError"`); `nil` otherwise.
    * `:message` - a sentence: Python's own text for `:python`.
    * `:traceback` - Python's frames, outermost first: maps of `:file`, `:line`,
      `:function` and `:code` (the source line, or `nil`).
    * `:cause` - the error this one came from (Python's `__cause__` or
      `__context__`), or `nil`.
    * `:notes` - what `add_note` added (Python 3.11 and newer), and hints of ours: for a module that was not found, in which
      pool and which Python.
    * `:executed` - may the request have had effects: `:no`, `:maybe` or `:yes`.
    * `:details` - a map whose keys depend on the kind, listed below.

  ## Kinds

  | kind | when | `:executed` | `:details` |
  |---|---|---|---|
  | `:python` | Python code raised | `:yes` | `:formatted` (Python's own text), `:relation` of the cause |
  | `:timeout` | the deadline passed; Python was told to stop | `:no` if it was still queued, else `:maybe` | `:timeout` in ms |
  | `:cancelled` | somebody else stopped the request | `:maybe` | |
  | `:worker_exit` | the worker's process ended under the request | `:maybe`; `:no` for the part of a broadcast that had not begun | `:status` or `:signal`, `:output` (its last lines) |
  | `:overloaded` | the pool's queue or its concurrency limit is full | `:no` | `:current`, `:max` |
  | `:no_pool` | no such pool, or it is stopping | `:no`; `:maybe` if it ended under the request | `:pool` |
  | `:no_workers` | workers can't start, or all are set aside for contexts | `:no` | `:output`, `:status` or `:signal` |
  | `:context_lost` | the worker of the context, or of the `ErlangPython.Ref`, died or was replaced | `:no` | |
  | `:context_closed` | the context was closed, or the Ref released | `:no` | |
  | `:encode` | a value has no encoding, or Refs of two workers are in one request | `:no` for an argument, `:yes` for a result | `:path` |
  | `:decode` | a message could not be decoded | `:no` for a request, `:yes` for a result | |
  | `:protocol` | the worker broke the wire protocol | `:maybe` | |
  | `:too_large` | a message is over the limit | `:no` for a request, `:yes` for a result | `:size`, `:limit` in bytes |
  | `:environment` | no usable Python, or an environment or the packages of the workers can't be installed | `:no` | `:python`, `:output` |
  | `:elixir` | an Elixir callback failed and the failure came back through Python | `:yes` | those of `:python`, `:kind` (`:error`, `:throw` or `:exit`), `:reason` (the original exception, or what was thrown or exited with), `:stacktrace` (text) |
  """

  @type kind ::
          :python
          | :timeout
          | :cancelled
          | :worker_exit
          | :overloaded
          | :no_pool
          | :no_workers
          | :context_lost
          | :context_closed
          | :encode
          | :decode
          | :protocol
          | :too_large
          | :environment
          | :elixir

  @type frame :: %{
          file: String.t(),
          line: non_neg_integer(),
          function: String.t(),
          code: String.t() | nil
        }

  @type t :: %__MODULE__{
          kind: kind(),
          type: String.t() | nil,
          message: String.t(),
          traceback: [frame()],
          cause: t() | nil,
          notes: [String.t()],
          executed: :no | :maybe | :yes,
          details: map()
        }

  defexception kind: nil,
               type: nil,
               message: "",
               traceback: [],
               cause: nil,
               notes: [],
               executed: :maybe,
               details: %{}

  @doc """
  What Python prints for a `:python` or `:elixir` error, traceback and causes included;
  the sentence of `:message` for the others.
  """
  @impl true
  def message(%__MODULE__{kind: kind} = error) when kind in [:python, :elixir] do
    error |> chain() |> IO.iodata_to_binary() |> String.trim_trailing("\n")
  end

  def message(%__MODULE__{message: message}), do: message

  # The two sentences are Python's own (traceback module), so that the text reads
  # as the user knows it.
  defp chain(%{cause: nil} = error), do: own_text(error)

  defp chain(%{cause: cause} = error) do
    sentence =
      case error.details do
        %{relation: :cause} ->
          "The above exception was the direct cause of the following exception:"

        _context ->
          "During handling of the above exception, another exception occurred:"
      end

    [chain(cause), "\n", sentence, "\n\n", own_text(error)]
  end

  defp own_text(%{details: %{formatted: formatted}}), do: formatted
  defp own_text(%{type: nil, message: message}), do: [message, "\n"]
  defp own_text(%{type: type, message: ""}), do: [type, "\n"]
  defp own_text(%{type: type, message: message}), do: [type, ": ", message, "\n"]
end
