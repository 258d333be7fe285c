# `:telemetry`, for machines on which it can't be had: the functions of its API, with the same
# answers. Handlers run in the calling process, and one that fails is detached. It is made only where the real
# one is missing; its value is the process that holds the handlers, or nil.

if Code.ensure_loaded?(:telemetry) do
  {:ok, _started} = Application.ensure_all_started(:telemetry)
  nil
else
  defmodule :telemetry do
    require Logger

    @table __MODULE__

    def new, do: :ets.new(@table, [:named_table, :public, :duplicate_bag, read_concurrency: true])

    def attach(id, event, function, config), do: attach_many(id, [event], function, config)

    def attach_many(id, [_ | _] = events, function, config) when is_function(function, 4) do
      for event <- events, do: [_ | _] = event

      if :ets.match(@table, {:_, id, :_, :_}) == [] do
        :ets.insert(@table, Enum.map(events, &{&1, id, function, config}))
        :ok
      else
        {:error, :already_exists}
      end
    end

    def detach(id) do
      if :ets.select_delete(@table, [{{:_, id, :_, :_}, [], [true]}]) == 0,
        do: {:error, :not_found},
        else: :ok
    end

    def list_handlers(prefix) do
      for {event, id, function, config} <- :ets.tab2list(@table),
          List.starts_with?(event, prefix) do
        %{id: id, event_name: event, function: function, config: config}
      end
    end

    def execute(event, measurements, metadata \\ %{})
        when is_map(measurements) and is_map(metadata) do
      for {_event, id, function, config} <- :ets.lookup(@table, event) do
        try do
          function.(event, measurements, metadata, config)
        catch
          kind, reason ->
            detach(id)
            message = Exception.format(kind, reason, __STACKTRACE__)
            Logger.error("Handler #{inspect(id)} has failed and has been detached: #{message}")
        end
      end

      :ok
    end
  end

  # The table belongs to a process that is not the test's. Who made it waits for it, or hears why not.
  maker = self()

  {owner, ref} =
    spawn_monitor(fn ->
      :telemetry.new()
      send(maker, :telemetry_is_there)
      Process.sleep(:infinity)
    end)

  receive do
    :telemetry_is_there -> Process.demonitor(ref, [:flush])
    {:DOWN, ^ref, :process, _pid, reason} -> exit(reason)
  end

  application = [
    vsn: ~c"1.0.0",
    modules: [:telemetry],
    registered: [],
    applications: [:kernel, :stdlib]
  ]

  :ok = :application.load({:application, :telemetry, application})
  :ok = Application.start(:telemetry)
  owner
end
