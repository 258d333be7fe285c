defmodule ErlangPython.Pool.Configured do
  @moduledoc false
  # The pools of `config :erlang_python, pools: [...]` and the default pool: started by their first
  # use, so that a dependency on the library alone starts no Python.

  alias ErlangPython.{Error, Settings}
  alias ErlangPython.Pool.{Handle, NoPool, Options, Supervisor}

  @default :default

  @spec default() :: atom()
  def default, do: @default

  @doc "The handle of a running pool; a configured one is started."
  @spec fetch(atom()) :: {:ok, Handle.t()} | {:error, Error.t()}
  def fetch(name) do
    case Handle.fetch(name) do
      {:ok, handle} -> {:ok, handle}
      :error -> with :ok <- check_application(name), do: start(name, options(name))
    end
  end

  @doc "Without the application there is no pool, and none can start."
  @spec check_application(atom()) :: :ok | {:error, Error.t()}
  def check_application(name) do
    if Process.whereis(ErlangPython.Pools),
      do: :ok,
      else: {:error, NoPool.not_started(name)}
  end

  @spec check_application!() :: :ok
  def check_application!,
    do: with({:error, error} <- check_application(@default), do: raise(error))

  @doc "The options of every configured pool; with `:all` those of the default pool in any case."
  @spec list(:all | :configured) :: [keyword()]
  def list(which) do
    default = if which == :all, do: [@default], else: []

    pools()
    |> Enum.map(&Keyword.get(&1, :name))
    |> Enum.concat(default)
    |> Enum.uniq()
    |> Enum.map(&options/1)
  end

  @doc "The options of a pool of a supervision tree, over those that the configuration has for its name."
  @spec complete(keyword()) :: keyword()
  def complete(own) do
    configured = if Keyword.keyword?(own), do: options(own[:name])
    if configured, do: Options.merge(configured, own), else: own
  end

  @doc "Raises `ArgumentError` for a wrong option of any of them."
  @spec check_all!() :: :ok
  def check_all!, do: Enum.each(list(:all), &checked!/1)

  @doc "As `Options.new!/1`, with an error that names the pool: who meets it need not be who configured it."
  @spec checked!(keyword()) :: Options.t()
  def checked!(options) do
    Options.new!(options)
  rescue
    error in ArgumentError ->
      message = "config :erlang_python, pool #{inspect(options[:name])}: #{error.message}"
      reraise ArgumentError, [message: message], __STACKTRACE__
  end

  # Many callers may come first at once; the name lets one of them start it.
  defp start(name, nil),
    do: {:error, NoPool.missing(name, Supervisor.names() ++ Enum.map(list(:all), & &1[:name]))}

  defp start(name, options) do
    spec = %{
      id: name,
      # Who uses it waits for a worker, not for all of them.
      start: {Supervisor, :start_link, [%{checked!(options) | lazy: true}]},
      type: :supervisor,
      # Its next use starts it again.
      restart: :temporary
    }

    case DynamicSupervisor.start_child(ErlangPython.Pools, spec) do
      {:ok, _pid} ->
        fetch(name)

      {:error, {:already_started, pid}} ->
        await_change(pid)
        fetch(name)

      {:error, reason} ->
        {:error, NoPool.not_startable(name, reason)}
    end
  catch
    # The application stops at this moment.
    :exit, {_reason, {GenServer, :call, [ErlangPython.Pools | _]}} ->
      {:error, NoPool.not_started(name)}
  end

  # It has the name, and nobody finds it: it is about to be there, under another supervisor, or about to have ended.
  defp await_change(pid) do
    Elixir.Supervisor.count_children(pid)
  catch
    :exit, _it_has_ended -> :ended
  end

  defp options(name) do
    case Enum.find(pools(), &(Keyword.get(&1, :name) == name)) do
      nil when name == @default -> [name: @default] ++ erlang_settings()
      nil -> nil
      options -> options
    end
  end

  defp pools do
    pools = Application.get_env(:erlang_python, :pools, [])

    if is_list(pools) and Enum.all?(pools, &(Keyword.keyword?(&1) and &1[:name])) do
      pools
    else
      raise ArgumentError,
            "expected config :erlang_python, pools: [...] to be a list with one keyword list and a name " <>
              "for each pool, such as [[name: :default, workers: 2]], got: #{inspect(pools)}"
    end
  end

  # What applications written for the Erlang face set. Such a one counts workers of three kinds; here each worker does the
  # work of all three, so there are as many as the largest of these numbers.
  defp erlang_settings do
    workers = [
      workers(:num_workers, System.schedulers_online(), 1),
      workers(:num_async_workers, 0, 0),
      workers(:num_subinterp_workers, 0, 0)
    ]

    [workers: Enum.max(workers)] ++
      for({:ok, max} <- [Settings.max_concurrent!()], do: {:max_concurrent, max})
  end

  defp workers(key, default, least) do
    case Application.get_env(:erlang_python, key, default) do
      n when is_integer(n) and n >= least ->
        n

      value ->
        Settings.expected!(key, "an integer of at least #{least}", value)
    end
  end
end
