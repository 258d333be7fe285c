defmodule ErlangPython.MessagePack.RemoteException do
  @moduledoc false
  # A Python exception as docs/protocol.md describes it, before it becomes an
  # `ErlangPython.Error`.

  @enforce_keys [:type, :message, :frames, :cause, :relation, :notes, :formatted]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          type: String.t(),
          message: String.t(),
          frames: [ErlangPython.Error.frame()],
          cause: t() | nil,
          relation: :cause | :context | nil,
          notes: [String.t()],
          formatted: String.t()
        }
end
