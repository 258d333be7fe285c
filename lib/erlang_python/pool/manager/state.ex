defmodule ErlangPython.Pool.Manager.State do
  @moduledoc false
  # What a pool's manager knows.

  alias ErlangPython.Pool.{Audit, Failures, Handle, Recycling, Roster, Supervisor}
  alias ErlangPython.Pool.Manager.Waiting

  @enforce_keys [:handle, :supervisor, :look]
  defstruct @enforce_keys ++
              [
                roster: %{},
                # How many workers the pool is to have, without extra ones.
                count: 0,
                failures: Failures.new(),
                recycling: Recycling.new(),
                # Runs while there are more extra workers than are needed.
                shrink: nil,
                waiting: Waiting.new()
              ]

  @type t :: %__MODULE__{
          handle: Handle.t(),
          supervisor: Elixir.Supervisor.name(),
          look: Audit.look(),
          roster: Roster.t(),
          count: non_neg_integer(),
          failures: Failures.t(),
          recycling: Recycling.t(),
          shrink: reference() | nil,
          waiting: Waiting.t()
        }

  @spec new(Handle.t()) :: t()
  def new(handle) do
    %__MODULE__{
      handle: handle,
      supervisor: Supervisor.workers(handle.name),
      look: Audit.look(handle)
    }
  end
end
