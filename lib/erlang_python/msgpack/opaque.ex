defmodule ErlangPython.MessagePack.Opaque do
  @moduledoc false
  # Any term, to be handed out as it is: Python can only hand it back.

  @enforce_keys [:term]
  defstruct [:term]

  @type t :: %__MODULE__{term: term()}
end
