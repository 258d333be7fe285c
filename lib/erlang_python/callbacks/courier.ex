defmodule ErlangPython.Callbacks.Courier do
  @moduledoc false
  # Carries what Python sends to processes of another node. The BEAM suspends who sends to a node that takes nothing, and a
  # reader must not be: all answers of its worker pass through it.
  #
  # There is one for each reader and node, so that the messages of a thread keep their order. It ends after its reader, when
  # all is carried.

  @doc "Sends in the order in which the calling process asks for it, and does not wait."
  @spec send(pid(), term()) :: term()
  def send(pid, message), do: Kernel.send(courier(node(pid)), {:carry, pid, message})

  defp courier(node) do
    key = {__MODULE__, node}

    with nil <- Process.get(key) do
      courier = :proc_lib.spawn(__MODULE__, :init, [self()])
      Process.put(key, courier)
      courier
    end
  end

  @doc false
  @spec init(reader :: pid()) :: :ok
  def init(reader) do
    Process.monitor(reader)
    __MODULE__.loop()
  end

  @doc false
  @spec loop() :: :ok
  def loop do
    receive do
      {:carry, pid, message} ->
        Kernel.send(pid, message)
        __MODULE__.loop()

      {:DOWN, _ref, :process, _reader, _reason} ->
        :ok
    end
  end
end
