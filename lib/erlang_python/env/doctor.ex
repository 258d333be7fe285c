defmodule ErlangPython.Env.Doctor do
  @moduledoc false
  # The checks of `mix erlang_python.doctor`. Each looks at one thing that has to be as it is for a pool to
  # work, and says what to do where it is not.

  alias ErlangPython.{Env, Error, Pool}
  alias ErlangPython.Env.{Ahead, Cache, Paths, Runtime, Shipped}
  alias ErlangPython.Pool.Configured
  alias ErlangPython.ZMTP.SocketDir

  @type finding :: %{
          what: String.t(),
          status: :ok | :failed,
          said: String.t(),
          todo: String.t() | nil
        }

  # A pool of 16 workers has 48 sockets and pipes, and the application has its own.
  @open_files 1024
  # For the exit status of a Python that is too old.
  @too_old 3

  @packages "packages of the worker"
  @setup "run `mix erlang_python.setup`"

  @doc "All findings, in the order in which one rests on another; `environments` as for `Ahead.places/1`."
  @spec findings(environments :: [term()]) :: [finding()]
  def findings(environments) do
    [versions(), cache(), socket_folder(), open_files()] ++ configured(environments)
  end

  defp configured(environments) do
    case places(environments) do
      {:ok, places} ->
        {:ok, _started} = Application.ensure_all_started(:erlang_python)
        Enum.flat_map(places, &place/1)

      {:error, said} ->
        [failed("configuration", said, "mend the options of that pool (`ErlangPython.Pool`)")]
    end
  end

  defp places(environments) do
    {:ok, Ahead.places(environments)}
  rescue
    error in ArgumentError -> {:error, error.message}
  end

  defp versions do
    {:unix, system} = :os.type()
    version = Application.spec(:erlang_python, :vsn)
    otp = System.otp_release()

    ok(
      "versions",
      "erlang_python #{version}, Elixir #{System.version()}, OTP #{otp}, #{system} " <>
        "#{:erlang.system_info(:system_architecture)}"
    )
  end

  defp cache do
    base = Cache.base()

    case writable(base) do
      :ok ->
        ok("cache folder", base)

      {:error, reason} ->
        # Nothing has to be written where the release brings all.
        if Shipped.runtime(Runtime.lock_id()),
          do: ok("cache folder", "not writable, but the release has the runtime packages"),
          else:
            failed(
              "cache folder",
              "#{base}: #{reason}",
              "set ERLANG_PYTHON_RUNTIME_DIR, or `config :erlang_python, runtime_dir: dir`, to a " <>
                "folder that this user may write to"
            )
    end
  rescue
    error in Error -> failed("cache folder", "none", Exception.message(error))
  end

  defp writable(folder) do
    probe = Path.join(folder, ".doctor-#{System.pid()}")

    with :ok <- File.mkdir_p(folder),
         :ok <- File.write(probe, ""),
         :ok <- File.rm(probe) do
      :ok
    else
      {:error, posix} -> {:error, :file.format_error(posix)}
    end
  end

  defp socket_folder do
    case SocketDir.create() do
      {:ok, made} ->
        SocketDir.remove(made)
        length = byte_size(made.socket_path)

        ok(
          "socket folder",
          "#{Path.dirname(made.path)}, paths of #{length} of #{SocketDir.max_path()} bytes"
        )

      {:error, reason} ->
        failed(
          "socket folder",
          reason,
          "set TMPDIR to a short folder that this user may write to"
        )
    end
  end

  # The limit of this process is that of the shells it starts.
  defp open_files do
    {limit, 0} = System.cmd("/bin/sh", ["-c", "ulimit -n"])
    limit = String.trim(limit)

    if limit == "unlimited" or String.to_integer(limit) >= @open_files,
      do: ok("open files", limit),
      else:
        failed(
          "open files",
          "this user may have #{limit} open files, fewer than #{@open_files}",
          "raise it: `ulimit -n #{@open_files}` in the shell, LimitNOFILE= in a systemd unit, " <>
            "--ulimit nofile= in Docker"
        )
  end

  # The later checks need what the earlier ones found.
  defp place(place) do
    what = "Python of #{Ahead.users(place)}"

    case Ahead.look(place) do
      {:ok, python} -> interpreter(what, python, place)
      {:error, error} -> [failed(what, Exception.message(error), todo(place))]
    end
  end

  defp interpreter(what, python, place) do
    found = "#{Ahead.name(place)}: #{python}"

    case System.cmd(python, ["-c", activation(), Paths.python_code() | roots()],
           stderr_to_stdout: true
         ) do
      {said, 0} -> [ok(what, found), ok(@packages, String.trim(said)) | starts(place)]
      {said, @too_old} -> [failed(what, "#{found} is #{String.trim(said)}", todo(place))]
      {said, _status} -> [ok(what, found), failed(@packages, String.trim(said), @setup)]
    end
  end

  defp todo(%{python: %Env{kind: kind}}) when kind in [:uv, :requirements],
    do: "run `mix erlang_python.setup`, which builds it"

  defp todo(_place),
    do: "mend that, or name another Python with `:python` or `:venv` in the configuration"

  defp roots, do: Enum.uniq([Runtime.first_root(), Runtime.root()])

  defp activation do
    """
    import os, sys
    if sys.version_info < (3, 9):
        print("Python %d.%d, erlang_python needs 3.9 or newer" % sys.version_info[:2])
        sys.exit(#{@too_old})
    sys.path.insert(0, sys.argv[1])
    from erlang_python_worker.runtime import abi_tag, activate
    sys.path.pop(0)
    roots = [r for r in sys.argv[2:] if os.path.isdir(os.path.join(r, abi_tag()))]
    activate((roots or sys.argv[2:])[0], ["msgpack"])
    import msgpack
    print("Python %d.%d.%d," % sys.version_info[:3], "msgpack", ".".join(map(str, msgpack.version)))
    """
  end

  # The real thing: each pool with its own options, but one worker, that answers.
  defp starts(place),
    do: for(options <- Configured.list(:all), options[:name] in place.pools, do: start(options))

  defp start(options) do
    what = "a worker of #{inspect(options[:name])}"
    name = :"erlang_python.doctor"
    alone = [name: name, workers: 1, max_overflow: 0, stdout: :ignore, lazy: false]

    with {starting, {:ok, pid}} <-
           :timer.tc(fn -> options |> Keyword.merge(alone) |> start_pool() end),
         {answering, {:ok, 4.0}} <-
           :timer.tc(fn -> ErlangPython.call(:math, :sqrt, [16], pool: name) end) do
      Supervisor.stop(pid)
      ok(what, "starts in #{div(starting, 1000)} ms, answers in #{answering} µs")
    else
      {_time, {:error, %Error{} = error}} ->
        # What Python says names the pool that it has.
        said =
          error |> Exception.message() |> String.replace(inspect(name), inspect(options[:name]))

        unable(what, said)

      {_time, {:error, reason}} ->
        unable(what, "the pool can't start: #{inspect(reason)}")
    end
  end

  # A pool that can't start takes its starter with it.
  defp start_pool(options) do
    trapping? = Process.flag(:trap_exit, true)
    result = Pool.start_link(options)
    Process.flag(:trap_exit, trapping?)
    result
  end

  defp unable(what, said) do
    failed(
      what,
      said,
      "mend what Python says, such as a module of `:preload` that its packages lack"
    )
  end

  defp ok(what, said), do: %{what: what, status: :ok, said: said, todo: nil}
  defp failed(what, said, todo), do: %{what: what, status: :failed, said: said, todo: todo}
end
